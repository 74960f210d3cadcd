"""Tokens: what they stand for comes back for the conversation that they were made in, for a while."""

import base64
import json
import re
from collections.abc import Callable

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar import entrust
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.redact.tokens import ENTRY_BYTES, Session, Vault

TOKENS = snapshot.Tokens(trusted=("pay",), session_header="X-Session", keep_ms=60_000)
REDACTION = snapshot.Redaction(
    detectors=("Email", "CreditCard"),
    patterns=(snapshot.Pattern("odd", 'odd"[^ ]+'),),
    action="Tokenize",
    tokens=TOKENS,
)
ALL = Redactor.compile(REDACTION, b"key")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Manual:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def unix_ms(self) -> int:
        return 0


def session(vault: Vault, name: bytes) -> Session:
    found = vault.session([(b"x-session", name)])
    assert found
    return found


@pytest.fixture
def clock() -> Manual:
    return Manual()


@pytest.fixture
def vault(clock: Manual) -> Vault:
    return Vault(TOKENS, clock)


@pytest.mark.parametrize(
    "value", ["jane.doe@example.com", "4111 1111 1111 1111", 'odd"\\quoted', "jörg@müller.de"]
)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_value_comes_back_as_it_was(vault: Vault, value: str, depth: int) -> None:
    said = json.dumps({"a": f"it is {value} ."})
    for _ in range(depth):
        said = json.dumps({"inner": said})
    one = session(vault, b"one")
    hidden = ALL.of(one).json(said.encode())
    assert sum(hidden.hits.values()) == 1
    assert value.encode() not in hidden.value
    assert b"[redacted:" in hidden.value
    back = json.loads(one.json(hidden.value))
    for _ in range(depth):
        back = json.loads(back["inner"])
    assert back == {"a": f"it is {value} ."}


def test_the_same_value_has_the_same_token_in_one_conversation_only(vault: Vault) -> None:
    one, other = session(vault, b"one"), session(vault, b"other")
    first = ALL.of(one).text("jane@example.com").value
    assert ALL.of(one).text("again jane@example.com").value == f"again {first}"
    second = ALL.of(other).text("jane@example.com").value
    assert first != second
    assert other.text(first.encode()) == first.encode()
    assert other.text(second.encode()) == b"jane@example.com"


def test_tokens_are_not_redacted_again(vault: Vault) -> None:
    one = session(vault, b"one")
    token = ALL.of(one).text("jane@example.com").value
    assert ALL.of(one).text(token) == (token, {})
    assert re.fullmatch(r"\[redacted:Email:[a-p]{18}\]", token)


def test_an_invented_token_stands_for_nothing(vault: Vault) -> None:
    invented = b"[redacted:Email:abcdefghijklmnopab]"
    assert session(vault, b"one").text(invented) == invented


@pytest.mark.parametrize("headers", [[], [(b"X-Session", b"")], [(b"X-Session", b"a"), (b"x-session", b"b")]])
def test_without_a_conversation_it_is_masked(vault: Vault, headers: list[tuple[bytes, bytes]]) -> None:
    found = vault.session(headers)
    assert found is None
    assert ALL.of(found).text("jane@example.com").value == "[redacted:Email]"


def test_without_a_header_to_tell_them_apart_all_calls_are_one(clock: Manual) -> None:
    vault = Vault(snapshot.Tokens(), clock)
    one, other = vault.session([]), vault.session([(b"X-Session", b"other")])
    assert one
    assert other
    token = ALL.of(one).text("jane@example.com").value
    assert other.text(token.encode()) == b"jane@example.com"


def test_a_token_is_kept_for_its_time(vault: Vault, clock: Manual) -> None:
    one = session(vault, b"one")
    token = ALL.of(one).text("jane@example.com").value.encode()
    clock.now = 59.9
    assert one.text(token) == b"jane@example.com"
    clock.now = 60.0
    assert one.text(token) == token
    ALL.of(one).text("jane@example.com")
    assert one.text(token) == b"jane@example.com"


def test_the_oldest_go_when_there_are_too_many(clock: Manual) -> None:
    vault = Vault(TOKENS, clock, limit_bytes=3 * (ENTRY_BYTES + 20))
    one = session(vault, b"one")
    tokens = [ALL.of(one).text(f"jane{index}@example.com").value.encode() for index in range(4)]
    values = [one.text(token) for token in tokens]
    assert values == [tokens[0], b"jane1@example.com", b"jane2@example.com", b"jane3@example.com"]


def test_queries_forms_and_paths(vault: Vault) -> None:
    one = session(vault, b"one")
    query = ALL.of(one).query("to=jane%40example.com&x=%41+b").value
    assert "jane" not in query
    assert one.query(query) == "to=jane%40example.com&x=%41+b"
    path = ALL.of(one).path("/users/jane%40example.com/%41").value
    assert "jane" not in path
    assert one.path(path) == "/users/jane%40example.com/%41"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text/plain", rb'{C:\users\x "\u00zz TOKEN"}'),
        ("text/plain", b'["\xff TOKEN"]'),
        ("application/json", rb'{"a": "\x TOKEN"}'),
        ("application/json", b'"' + b"\xff" + b' TOKEN"'),
        ("application/json", b"[" * 200 + b'"TOKEN"' + b"]" * 200),
        ("application/json", rb'["\ud800 TOKEN"]'),
    ],
)
def test_what_is_no_json_gets_its_values_as_a_text(vault: Vault, kind: str, text: bytes) -> None:
    one = session(vault, b"one")
    token = ALL.of(one).text("jane@example.com").value.encode()
    parts = entrust.HttpParts("/", None, (), text.replace(b"TOKEN", token))
    left = entrust.http_request(one, parts, None, kind, "", 10_000)
    assert left.body == text.replace(b"TOKEN", b"jane@example.com")


def test_a_document_in_a_document_that_is_too_deep_gets_its_values_as_a_text(vault: Vault) -> None:
    one = session(vault, b"one")
    token = ALL.of(one).text("jane@example.com").value
    deep = "[" * 200 + f'"{token}"' + "]" * 200
    assert json.loads(one.json(json.dumps([deep]).encode())) == [deep.replace(token, "jane@example.com")]


@pytest.mark.parametrize("encode", [bytes.hex, lambda content: content.hex().upper(), _base64])
@pytest.mark.parametrize("before", ["", "a", "ab", "is it "])
@pytest.mark.parametrize("around", ["{}", '{{"mail": "{}", "n": 1.50}}'])
def test_values_come_back_where_they_were_wrapped(
    vault: Vault, encode: Callable[[bytes], str], before: str, around: str
) -> None:
    one = session(vault, b"one")
    content = around.format(f"{before} jane.doe@example.com and joe@example.org or so?")
    said = json.dumps({"list": [f"see {encode(content.encode())} .", content] * 100}).encode()
    hidden = ALL.of(one).json(said)
    assert hidden.hits == {"Email": 400}
    assert one.json(hidden.value) == said
    assert one.text(hidden.value.replace(b"\\", b"")) == said.replace(b"\\", b"")
    assert session(vault, b"two").json(hidden.value) == hidden.value
