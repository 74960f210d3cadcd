"""What comes in pieces is redacted as if it had come whole, wherever it is cut; and nothing is held for long."""

import itertools
import json
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar import cleanse
from toolpolicy_sidecar.mcp import sse
from toolpolicy_sidecar.redact.detectors.detector import BASE64, URL64, invented
from toolpolicy_sidecar.redact.redactor import Redactor, Unscannable
from toolpolicy_sidecar.redact.stream import HELD_BYTES, EventStream, TextStream

ALL = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial")))
LIMIT_BYTES = 1024 * 1024
KEY = "\n".join(
    [
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        *[invented(64, BASE64)] * 12,
        "-----END RSA " + "PRIVATE KEY-----",
    ]
)
SECRETS = [
    "jane.doe@example.com",
    "4111 1111 1111 1111",
    "password: hunter2xyz9",
    "ghp_" + invented(36),
    KEY,
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0" * 20 + "." + invented(43, URL64),
    "jane.doe%40example.com",
    "amFuZS5kb2VAZXhhbXBsZS5jb20=",
    "+49 1511 2345678",
]
WORDS = [
    "lorem ipsum dolor sit amet",
    "é 😀 \u201cquoted\u201d",
    "\n",
    "1, 2, 3.",
    "C:\\users\\x",
    "100% & more",
]
TEXTS = st.lists(st.sampled_from(SECRETS + WORDS), min_size=1, max_size=12).map(" ".join)


def cuts(data: st.DataObject, size: int) -> list[int]:
    at = data.draw(st.lists(st.integers(0, size), max_size=30))
    return [0, *sorted(at), size]


def redacted(text: str) -> bytes:
    return ALL.text(text).value.encode()


def events(pieces: list[str]) -> list[sse.Event]:
    return [
        sse.event(
            b"data: "
            + json.dumps({"id": f"e{index}", "choices": [{"index": 0, "delta": {"content": piece}}]}).encode()
            + b"\n\n"
        )
        for index, piece in enumerate(pieces)
    ]


def told(raw: bytes) -> bytes:
    return "".join(
        json.loads(event[6:])["choices"][0]["delta"]["content"]
        for event in raw.decode().split("\n\n")
        if event
    ).encode()


@given(TEXTS, st.data())
@settings(max_examples=60, deadline=None)
def test_a_text_is_redacted_as_if_it_were_whole(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    at = cuts(data, len(raw))
    stream = TextStream(ALL, LIMIT_BYTES)
    out = b"".join(stream.feed(raw[start:end]).value for start, end in itertools.pairwise(at))
    assert out + stream.end().value == redacted(text)
    assert not stream.holds


@given(TEXTS, st.data())
@settings(max_examples=60, deadline=None)
def test_the_text_of_events_is_redacted_as_if_it_were_whole(text: str, data: st.DataObject) -> None:
    at = cuts(data, len(text))
    pieces = [text[start:end] for start, end in itertools.pairwise(at)]
    stream = EventStream(ALL, partial(cleanse.http_event, ALL), LIMIT_BYTES)
    out = b"".join(stream.feed(event).value for event in events(pieces)) + stream.end().value
    assert told(out) == redacted(text)
    assert out.count(b'"id"') == len(pieces)


@pytest.mark.parametrize("secret", SECRETS)
def test_every_cut_of_a_secret_gives_the_same(secret: str) -> None:
    text = f"see {secret} and so on"
    raw = text.encode()
    whole = redacted(text)
    for at in range(0, len(raw), 1 + len(raw) // 64):
        stream = TextStream(ALL, LIMIT_BYTES)
        assert stream.feed(raw[:at]).value + stream.feed(raw[at:]).value + stream.end().value == whole


def test_no_more_is_held_than_a_hit_may_need() -> None:
    stream = TextStream(ALL, LIMIT_BYTES)
    for _ in range(100):
        stream.feed(b"lorem ipsum dolor sit amet, ")
        assert stream.held_bytes <= HELD_BYTES + 64


def test_each_event_keeps_its_own_text() -> None:
    pieces = ["mail ", "jane.do", "e@exam", "ple.com", " today, ", "lorem ipsum"]
    stream = EventStream(ALL, partial(cleanse.http_event, ALL), LIMIT_BYTES)
    out = b"".join(stream.feed(event).value for event in events(pieces)) + stream.end().value
    texts = [
        json.loads(event[6:])["choices"][0]["delta"]["content"]
        for event in out.decode().split("\n\n")
        if event
    ]
    assert texts == ["mail ", "[redacted:Email]", "", "", " today, ", "lorem ipsum"]


def test_texts_of_different_places_are_not_joined() -> None:
    def event(index: int, piece: str) -> sse.Event:
        return sse.event(b"data: " + json.dumps({"index": index, "text": piece}).encode() + b"\n\n")

    stream = EventStream(ALL, partial(cleanse.http_event, ALL), LIMIT_BYTES)
    sent = [event(0, "jane.doe"), event(1, "unrelated "), event(0, "@example.com"), event(1, "words")]
    out = b"".join(stream.feed(each).value for each in sent) + stream.end().value
    assert b"jane" not in out
    assert b"unrelated" in out
    assert b"words" in out


def test_what_is_no_piece_of_a_text_goes_on_at_once() -> None:
    stream = EventStream(ALL, partial(cleanse.http_event, ALL), LIMIT_BYTES)
    raw = b'event: state\ndata: {"id": "a", "done": false}\n\n'
    assert stream.feed(sse.event(raw)).value == raw
    assert not stream.holds


def test_a_text_that_can_nowhere_be_cut_is_given_up() -> None:
    stream = TextStream(ALL, 1000)
    stream.feed(b"x" * 900)
    with pytest.raises(Unscannable, match="no place to cut"):
        stream.feed(b"x" * 900)
    assert stream.given_up() == b"x" * 1800


def test_half_a_character_waits_for_its_other_half() -> None:
    stream = TextStream(ALL, LIMIT_BYTES)
    raw = "é".encode()
    assert stream.feed(raw[:1]).value + stream.pause().value == b""
    assert stream.feed(raw[1:]).value + stream.end().value == raw
    stream.feed(raw[:1])
    with pytest.raises(Unscannable, match="not UTF-8"):
        stream.end()
