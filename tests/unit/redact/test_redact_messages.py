"""Messages of MCP: only what may be read is redacted, and every other byte stays as it came."""

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar import cleanse
from toolpolicy_sidecar.redact.redactor import Redactor

EMAIL = snapshot.Pattern("email", r"[a-z.]+@[a-z.]+", "[email]")
BOTH_WAYS = [
    Redactor.compile(snapshot.Redaction(patterns=(EMAIL,))),
    Redactor.compile(snapshot.Redaction(patterns=(EMAIL, snapshot.Pattern("all", "^jane$", "-")))),
]
"""The short way, and the long one."""
pytestmark = pytest.mark.parametrize("redactor", BOTH_WAYS, ids=["short", "long"])


def test_a_request_keeps_its_bytes(redactor: Redactor) -> None:
    body = b'{ "id" :1.0, "params":\t{"name": "find", "arguments" : {"q":"of jane@example.com","n":1e2 } } }'
    left, _, hits = cleanse.mcp_request(redactor, body, ())
    assert left == body.replace(b"jane@example.com", b"[email]")
    assert hits == {"email": 1}


def test_an_answer_keeps_its_bytes(redactor: Redactor) -> None:
    data = b'{"id" : 1, "result":  { "content":[ {"type":"text", "text":"a@b.cc, c@d.ee"} ] } }'
    found = cleanse.mcp_message(redactor, data)
    assert found.value == data.replace(b"a@b.cc", b"[email]").replace(b"c@d.ee", b"[email]")
    assert found.hits == {"email": 2}


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"me@example.com","params":{"name":"find","arguments":{"q":"x"}}}',
        b'{"id":1,"params":{"name":"find@example.com","arguments":{"q":"x"},"_meta":{"a":"b@c.dd"}}}',
    ],
)
def test_of_a_request_only_arguments_are_redacted(redactor: Redactor, body: bytes) -> None:
    assert cleanse.mcp_request(redactor, body, ()) == (body, (), {})


def test_what_is_written_twice_is_redacted_where_it_may_be(redactor: Redactor) -> None:
    body = b'{"id":1,"params":{"_meta":{"q":"a@b.cc"},"name":"find","arguments":{"q":"a@b.cc"}}}'
    left, _, hits = cleanse.mcp_request(redactor, body, ())
    assert left == body[::-1].replace(b"cc.b@a", b"]liame[", 1)[::-1]
    assert hits == {"email": 1}


@pytest.mark.parametrize(
    "data",
    [
        b'{"id":"me@example.com","result":{"content":[]}}',
        b'{"method":"n","params":{"progressToken":"me@example.com"}}',
    ],
)
def test_tokens_of_the_protocol_stay(redactor: Redactor, data: bytes) -> None:
    assert cleanse.mcp_message(redactor, data) == (data, {})


def test_no_second_member_hides_anything(redactor: Redactor) -> None:
    twice = b'{"id":1,"result":{"a":"a@b.cc"},"result":{"a":"c@d.ee"}}'
    assert b"@" not in cleanse.mcp_message(redactor, twice).value
    responses = (
        b'{"id":1,"params":{"name":"x","inputResponses":{"a":"a@b.cc"},"inputResponses":{"a":"c@d.ee"}}}'
    )
    assert b"@" not in cleanse.mcp_request(redactor, responses, ())[0]


def test_a_header_that_mirrors_an_argument_is_counted_too(redactor: Redactor) -> None:
    body = b'{"id":1,"params":{"name":"find","arguments":{"q":"a@b.cc"}}}'
    _, headers, hits = cleanse.mcp_request(redactor, body, ((b"Mcp-Param-q", b"a@b.cc"),))
    assert headers == ((b"Mcp-Param-q", b"[email]"),)
    assert hits == {"email": 2}
