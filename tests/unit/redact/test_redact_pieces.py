"""What is done on a text piece by piece is what is done on the whole of it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import pieces, placeholder, replacements, spans, views
from toolpolicy_sidecar.redact.pieces import before_reference, between_escapes
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.redact.views import View, rereadings, unescape

TEXTS = st.lists(
    st.sampled_from(
        [
            *("\\\\", "\\n", '\\"', "\\u0041", "\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\x41", "\\q", "\\"),
            *("%41", "%d0%b0", "%d0", "%", "%%41", "&amp;", "&#65;", "&", "a=b+c", "=", "+", " ", '"', "\n"),
            *("\u0430", "\u200b", "\uff20", "\U0001f600", "d83d", "u0041", "ab", "amp;", "41"),
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


def _readings(text: bytes) -> tuple[bytes, list[bytes], list[list[tuple[int, int]]]]:
    """And where each byte of each reading comes from."""
    found: list[View] = [*views.views(text)]
    origins = [[view.source_span(at, at + 1) for at in range(len(view.text))] for view in found]
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
        patched.setattr(spans, "_PART_BITS", 3)
        for module in (placeholder, replacements):
            patched.setattr(module, "PIECE_BYTES", size)
        patched.setattr(pieces, "_COPIED_BYTES", size)
        assert redactor.text(text) == once
        assert redactor.text(once.value + text) == whole
