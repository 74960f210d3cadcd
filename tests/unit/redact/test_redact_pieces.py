"""What is done on a text piece by piece is what is done on the whole of it."""

import base64

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import (
    binary,
    document,
    finder,
    pieces,
    placeholder,
    replacements,
    spans,
    views,
    wrapped,
)
from toolpolicy_sidecar.redact.pieces import before_reference, between_escapes
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.redact.spans import Span
from toolpolicy_sidecar.redact.views import View, rereadings, unescape

TEXTS = st.lists(
    st.sampled_from(
        [
            *("\\\\", "\\n", '\\"', "\\u0041", "\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\x41", "\\q", "\\"),
            *("%41", "%d0%b0", "%d0", "%", "%%41", "&amp;", "&#65;", "&", "a=b+c", "=", "+", " ", '"', "\n"),
            *("\u0430", "\u200b", "\uff20", "\U0001f600", "d83d", "u0041", "ab", "amp;", "41"),
            *("\0", "\0", "\0a\0", "\0\0\0a", "\\u0000", "j\0a\0n\0e\0"),
        ]
    ),
    max_size=40,
).map(lambda parts: "".join(parts).encode())


@given(text=TEXTS, size=st.integers(1, 9), cut=st.sampled_from([between_escapes, before_reference]))
def test_pieces_are_the_whole(text: bytes, size: int, cut: pieces.Cut) -> None:
    found = [*pieces.pieces(text, cut, size)]
    assert b"".join(found) == text
    for piece in found:
        piece.decode()


@given(text=TEXTS, size=st.integers(1, 9))
@settings(max_examples=400, deadline=None)
def test_readings_are_the_same_in_pieces(text: bytes, size: int) -> None:
    whole = _readings(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pieces.pieces, "__defaults__", (size,))
        assert _readings(text) == whole


def _readings(text: bytes) -> tuple[bytes, list[bytes], list[list[Span]]]:
    """And where each byte of each reading comes from."""
    found: list[View] = [*views.views(text)]
    origins = [[*view.in_source((at, -at - 1, 0) for at in range(len(view.text)))] for view in found]
    return unescape(text), [*rereadings(text)], origins


RULES = snapshot.Redaction(
    detectors=("Secrets", "PII", "Financial"),
    patterns=(snapshot.Pattern("ticket-id", "TCK-[0-9]+", "[ticket]"), snapshot.Pattern("pairs", "x{2}", "")),
)
REDACTORS = [Redactor.compile(RULES), Redactor.compile(msgspec.structs.replace(RULES, action="Hash"), b"k")]
FOUND = st.lists(
    st.sampled_from(
        [
            *(
                "jane@example.com",
                "4111 1111 1111 1111",
                "+49 151 12345678",
                "tel: 030 901820",
                "8.8.8.8",
                "TCK-1",
            ),
            *(
                "password=q7W2e9RtY4uZ3pLk",
                "api_key: q7W2e9RtY4uZ3pLk",
                "[redacted:Email]",
                "[ticket]",
                "[redacted:",
            ),
            *(
                "jane%40example.com",
                "amFuZUBleGFtcGxlLmNvbQ==",
                "jane\\u0040example.com",
                "\uff20",
                "xx",
                "lorem ipsum",
            ),
            *(" ", "\n", '"', "\\", "7", "@", "."),
        ]
    ),
    max_size=30,
).map("".join)


@given(text=FOUND, redactor=st.sampled_from(REDACTORS), size=st.integers(1, 40))
@settings(max_examples=400, deadline=None)
def test_what_is_found_in_a_long_text_is_what_is_found_in_a_short_one(
    text: str, redactor: Redactor, size: int
) -> None:
    """Also where placeholders stand in it already."""
    once = redactor.text(text)
    whole = redactor.text(once.value + text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spans, "LONG_BYTES", -1)
        for module in (spans, finder):
            patched.setattr(module, "PART_BITS", 3)
        for module in (placeholder, replacements):
            patched.setattr(module, "PIECE_BYTES", size)
        patched.setattr(pieces.pieces, "__defaults__", (size,))
        patched.setattr(document, "_WRITTEN_BYTES", 8)
        patched.setattr(pieces, "_COPIED_BYTES", size)
        assert redactor.text(text) == once
        assert redactor.text(once.value + text) == whole


@given(content=st.binary(max_size=200), text=st.text("aZ09+/-_=\r\n", max_size=120), steps=st.integers(1, 4))
@settings(max_examples=400, deadline=None)
def test_what_is_encoded_is_read_in_steps(content: bytes, text: str, steps: int) -> None:
    readable = base64.b64encode(content.hex().encode())
    texts = [text.encode(), content.hex().encode(), content.hex().upper().encode(), readable]
    texts += [base64.urlsafe_b64encode(content.hex().encode()).rstrip(b"="), base64.encodebytes(readable)]
    pictures = [b"data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + 800 * b"ab" + content)]
    pictures += [pictures[0] + b"AA==", pictures[0].rstrip(b"=") + text.encode(), pictures[0] + b"AAAA"]
    once = _encoded(texts), [*map(binary.opened, pictures)]
    with pytest.MonkeyPatch.context() as patched:
        for module in (pieces, wrapped, binary):
            patched.setattr(module, "STEP_BYTES", 12 * steps)
        assert (_encoded(texts), [*map(binary.opened, pictures)]) == once


def _encoded(texts: list[bytes]) -> list[tuple[bytes, bytes]]:
    """What stands in each, and how something else is written in its place."""
    return [(run.content, run.wrap(b"else, " + run.content)) for text in texts for run in wrapped.runs(text)]


@given(text=TEXTS, size=st.integers(1, 9))
@settings(max_examples=400, deadline=None)
def test_strings_of_json_are_read_and_written_in_pieces(text: bytes, size: int) -> None:
    token = document.string_token(text)
    assert document.string_value(token) == text
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pieces.pieces, "__defaults__", (size,))
        patched.setattr(pieces, "_COPIED_BYTES", size)
        patched.setattr(document, "_WRITTEN_BYTES", max(size, 4))
        assert document.string_token(text) == token
        assert document.string_value(token) == text
