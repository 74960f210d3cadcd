"""Each kind of what cannot be read ends for a reason of its own, in both directions, or passes whole."""

import gzip
import itertools
from functools import partial

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar import cleanse
from toolpolicy_sidecar.problem import Stopped
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.redact.scanner import Scanner

LIMIT_BYTES = 1000
_DEEP = b"[" * 200 + b"]" * 200
CASES = [
    ("application/json", "br", b"{}", "UnsupportedEncoding", "AnswerEncodingUnsupported"),
    ("application/json", "", b'{"a"', "RequestUnparsable", "AnswerUnparsable"),
    ("application/json", "gzip", b"\x1f\x8b", "RequestUnparsable", "AnswerUnparsable"),
    ("text/plain", "", b"\xff", "RequestUnparsable", "AnswerUnparsable"),
    ("text/plain; charset=UTF-16LE", "", b"a\0b\0", "RequestUnparsable", "AnswerUnparsable"),
    ('text/plain;charset="utf-7"', "", b"a+AEA-b", "RequestUnparsable", "AnswerUnparsable"),
    ("application/json", "", _DEEP, "RequestTooDeep", "AnswerTooDeep"),
    ("application/json", "gzip", gzip.compress(b"1" * 2000, mtime=0), "BodyTooLarge", "AnswerTooLarge"),
    ("application/json", "", b'["' + b"a " * 400 + b'"]', "RequestTooCostly", "AnswerTooCostly"),
    ("image/png", "", b"\x89PNG", "RequestUnscannable", "AnswerUnscannable"),
    ("text/plain, text/html", "", b"a", "RequestUnscannable", "AnswerUnscannable"),
]


def redactor(on_unscannable: str) -> Redactor:
    greedy = snapshot.Redaction(
        patterns=(snapshot.Pattern("greedy", "a.*b|a", "x"),),
        on_unscannable=on_unscannable,  # type: ignore[arg-type] # parametrised
    )
    seconds = itertools.count()
    return Redactor(Scanner.compile(greedy, b"", lambda: next(seconds)), greedy)


def sent(mine: Redactor, kind: str, encoding: str, body: bytes) -> bytes:
    return cleanse.http_request(mine, "/", None, (), body, kind, encoding, LIMIT_BYTES).body


def answered(mine: Redactor, kind: str, encoding: str, body: bytes) -> bytes:
    plain = cleanse.plain(body, encoding, LIMIT_BYTES, mine)
    return body if plain is None else cleanse.http_answer(mine, plain, kind).value


@pytest.mark.parametrize(("kind", "encoding", "body", "request_", "answer"), CASES)
def test_refused(kind: str, encoding: str, body: bytes, request_: str, answer: str) -> None:
    for way, reason in ((sent, request_), (answered, answer)):
        with pytest.raises(Stopped) as stopped:
            way(redactor("Refuse"), kind, encoding, body)
        assert stopped.value.problem.reason == reason
        assert body[:20].decode("latin-1") not in stopped.value.problem.detail or len(body) < 3


@pytest.mark.parametrize(("kind", "encoding", "body", "_request", "_answer"), CASES)
def test_passed_whole(kind: str, encoding: str, body: bytes, _request: str, _answer: str) -> None:
    for way in (sent, answered):
        assert way(redactor("Pass"), kind, encoding, body) == body


@pytest.mark.parametrize("on_unscannable", ["Refuse", "Pass"])
def test_of_a_stream(on_unscannable: str) -> None:
    mine, piece = redactor(on_unscannable), b"x" * 400
    text = cleanse.http_text(mine, "text/plain", "", b"x", 300)
    assert text is not None
    if on_unscannable == "Pass":
        assert cleanse.step(mine, text, partial(text.feed, piece)).value == piece
        return
    with pytest.raises(Stopped) as stopped:
        cleanse.step(mine, text, partial(text.feed, piece))
    assert stopped.value.problem.reason == "AnswerTooLarge"
