"""Which trace a call belongs to, and that a message keeps every byte that is not about it."""

import json

import pytest

from toolpolicy_sidecar.telemetry.trace_context import parsed, with_parent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OURS = b"00-4bf92f3577b34da6a3ce929d0e0e4736-aaaaaaaaaaaaaaaa-01"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
    ],
)
def test_valid_contexts(header: str, *, sampled: bool) -> None:
    found = parsed(header, "a=1")
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled, found.state) == (TRACE, SPAN, sampled, "a=1")


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        f"cc-{TRACE}-{SPAN}-01more",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"\u0660\u0660-{TRACE}-{SPAN}-01",
    ],
)
def test_invalid_contexts(header: str) -> None:
    assert parsed(header, "") is None


def test_a_state_that_is_too_long_or_odd_is_left_out() -> None:
    header = f"00-{TRACE}-{SPAN}-01"
    for state in ("a=" + "x" * 600, "a=\x00", "a=ü"):
        found = parsed(header, state)
        assert found is not None
        assert not found.state


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc": "2.0","id":1, "method":"tools/call","params":{"name":"s", "_meta":{ "traceparent" : %b ,"k":1}}}',
        b'{"params":{"_meta":{"traceparent":%b},"arguments":{"traceparent":"00-1-2-3"}},"id":"\\u00e9"}',
        b'{ "params" : {"arguments":{"x":"\\ud83d\\ude00"}, "_meta":{"a":[1, 2],"traceparent":\n%b}}}\n',
    ],
)
def test_every_other_byte_stays(body: bytes) -> None:
    theirs = f'"00-{TRACE}-{SPAN}-01"'.encode()
    assert with_parent(body % theirs, OURS) == body % (b'"' + OURS + b'"')


def test_the_same_text_in_an_argument_stays() -> None:
    theirs = f"00-{TRACE}-{SPAN}-01"
    for order in ((0, 1), (1, 0)):
        members = [
            ("_meta", {"traceparent": theirs}),
            ("arguments", {"_meta": {"traceparent": theirs}, "t": theirs}),
        ]
        params = dict(members[index] for index in order)
        changed = json.loads(with_parent(json.dumps({"params": params}).encode(), OURS))["params"]
        assert changed["_meta"] == {"traceparent": OURS.decode()}
        assert changed["arguments"] == params["arguments"]


def test_a_body_without_one_or_full_of_them_stays() -> None:
    theirs = f"00-{TRACE}-{SPAN}-01"
    for params in (
        {"arguments": {"traceparent": theirs}},
        {"_meta": {"traceparent": theirs}, "arguments": [theirs] * 1000},
        {"_meta": [theirs]},
    ):
        body = json.dumps({"params": params}).encode()
        assert with_parent(body, OURS) == body
    for nothing in (b"", b"[]", b"nonsense"):
        assert with_parent(nothing, OURS) == nothing
