"""Is a document JSON? The check of 4 MB at once takes 4 ms, in which no other thread runs, so large ones are checked
part by part, where that is possible."""

import re

import msgspec

from toolpolicy_sidecar.redact.pieces import between_escapes, pieces, without_escapes

PART_BYTES = 256 * 1024
LARGE_BYTES = 4 * PART_BYTES
_NEAR_BYTES = 16 * 1024
"""So far a place is looked for where elements of a list meet."""
_BETWEEN_ELEMENTS = (
    re.compile(rb"(?<=\})[ \t\r\n]*,(?=[ \t\r\n]*\{)"),
    re.compile(rb'(?<=")[ \t\r\n]*,(?=[ \t\r\n]*")'),
    re.compile(rb"(?<=[0-9])[ \t\r\n]*,(?=[ \t\r\n]*[0-9-])"),
)
skip = msgspec.json.Decoder(msgspec.Raw).decode
"""Reads a document and makes nothing of it. Raises DecodeError, RecursionError."""


def is_valid_in_parts(data: bytes) -> bool:
    """True: it is. False: that must be asked of the whole.

    Most large documents are one long list, or one long string, in something short. All between the first and the last
    part is more of the same, then: the document is valid when each part is such a list or string by itself, and the
    first and the last are a document together, which has an element or nothing in the place of all others."""
    parts = [*pieces(data, between_escapes, PART_BYTES)]
    if _ends_in_string(parts[0]) and _are_valid(parts, b"", b'"%b"'):
        return True
    for between in _BETWEEN_ELEMENTS:
        parts = _elements(data, between)
        if not _ends_in_string(parts[0]) and _are_valid(parts, b",0,", b"[%b]"):  # an object takes no 0
            return True
    return False


def _ends_in_string(begun: bytes) -> bool:
    return sum(piece.count(b'"') for piece in without_escapes(begun, b"")) % 2 == 1


def _elements(data: bytes, between: re.Pattern[bytes]) -> list[bytes]:
    """Parts without the commas between them."""
    parts: list[bytes] = []
    at = 0
    while len(data) - at > 2 * PART_BYTES:
        found = between.search(data, at + PART_BYTES, at + PART_BYTES + _NEAR_BYTES)
        if found is None:
            break
        parts.append(data[at : found.end() - 1])
        at = found.end()
    return [*parts, data[at:]]


def _are_valid(parts: list[bytes], hole: bytes, frame: bytes) -> bool:
    if len(parts) < 3 or len(parts[-1]) > 2 * PART_BYTES:
        return False
    try:
        for part in parts:
            if not part.isascii():
                part.decode()
        for part in parts[1:-1]:
            skip(frame % part)
        skip(hole.join((parts[0], parts[-1])))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
