"""What is done on a text piece by piece is what is done on the whole of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_sidecar.redact import pieces, views
from toolpolicy_sidecar.redact.pieces import before_reference, between_escapes
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
