"""Large texts are gone through piece by piece: while a step in C is on the whole of one, every other thread waits, and
so does the event loop."""

import re
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO

PIECE_BYTES = 16 * 1024
"""No step on so much takes a millisecond."""
_COPIED_BYTES = 256 * 1024
STEP_BYTES = 48 * 1024
"""A multiple of what is one in base64 and in hexadecimal, and of what that stands for."""

Cut = Callable[[bytes, int, int], int]
"""Where a text may be cut, at the second place or behind it. At the first one it was."""

_LONGEST_ESCAPE = len(rb"\ud83d\ude00")
_HALF_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\Z")
_BEFORE_REFERENCE = re.compile(rb'[\s"&\xc2-\xf4]|(?<!%[0-9a-fA-F]{2})%')
_NEAR_BYTES = 16 * 1024


def pieces(text: bytes, cut: Cut, size_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """Of about so many bytes each, and a smaller one at the end."""
    at = 0
    while len(text) - at > 2 * size_bytes:
        end = cut(text, at, at + size_bytes)
        yield text[at:end]
        at = end
    yield text[at:] if at else text


def between_escapes(text: bytes, start: int, at: int) -> int:
    """In no escape that begins with a backslash, no pair of surrogates, and no character."""
    while at < len(text):
        before = text[max(start, at - _LONGEST_ESCAPE) : at]
        if before.endswith(b"\\"):
            others = len(text[start:at].rstrip(b"\\"))
            if (at - start - others) % 2 == 0:
                return at
        elif text[at] == ord("\\"):
            if not _HALF_PAIR.search(before):
                return at
        elif b"\\" not in before and text[at] & 0xC0 != 0x80:
            return at
        at += 1
    return at


def before_reference(text: bytes, _: int, at: int) -> int:
    """In no character reference, no run of percent encoding, and no character."""
    return before(_BEFORE_REFERENCE, text, at)


def before(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    """Where it matches next. If that is far away the rest is one piece: nobody writes so."""
    found = pattern.search(text, at, at + _NEAR_BYTES)
    return found.start() if found else len(text)


def part(text: bytes, start: int, end: int) -> bytes:
    """The slice."""
    if end - start <= _COPIED_BYTES:
        return text[start:end]
    out = BytesIO()
    copy_to(out, text, start, end)
    return out.getvalue()


def joined(parts: Iterable[bytes]) -> bytes:
    """As `b"".join`, but what comes is copied as it comes."""
    out = BytesIO()
    out.writelines(parts)
    return out.getvalue()


def changed(change: Callable[[bytes], bytes], text: bytes) -> bytes:
    """In steps, if the text is long: `change` is from or to base64 or hexadecimal, or goes byte by byte."""
    if len(text) <= STEP_BYTES:
        return change(text)
    return joined(change(text[at : at + STEP_BYTES]) for at in range(0, len(text), STEP_BYTES))


def copy_to(out: BytesIO, text: bytes, start: int, end: int) -> None:
    """The slice. What is given back in the end, `getvalue`, is no copy of it."""
    if end - start <= _COPIED_BYTES:
        out.write(text[start:end])
        return
    steps = range(start, end, _COPIED_BYTES)
    out.writelines(text[at : min(end, at + _COPIED_BYTES)] for at in steps)


def stands_in(sign: bytes, text: bytes) -> bool:
    """As `in`."""
    if len(text) <= _COPIED_BYTES:
        return sign in text
    step = range(0, len(text), _COPIED_BYTES)
    return any(text.find(sign, at, at + _COPIED_BYTES + len(sign) - 1) >= 0 for at in step)


def without_escapes(document: bytes, instead: bytes, size_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """A JSON document in pieces, without the escapes that hide where a string ends."""
    return (
        piece.replace(b"\\\\", instead).replace(b'\\"', instead) if b"\\" in piece else piece
        for piece in pieces(document, between_escapes, size_bytes)
    )
