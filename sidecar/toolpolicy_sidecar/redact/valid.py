"""Is a document JSON? The check of 4 MB at once takes 4 ms, in which no other thread runs, so large ones are checked
part by part.

A document is cut behind commas and within strings. What is open there, objects and lists and perhaps a string, is
closed behind one part and opened before the next, with something in the place of all that was before: so each part is
a document, and valid if the whole is. And the whole is if all of them are, for each part is read in the state in which
the one before it ended: behind the same comma, or in the same string."""

import re
from typing import NamedTuple

import msgspec

from toolpolicy_sidecar.redact.pieces import between_escapes, joined, without_escapes

PART_BYTES = 256 * 1024
LARGE_BYTES = 4 * PART_BYTES
NEAR_BYTES = 16 * 1024
"""So far a place is looked for where a part may end."""
DEEPEST = 128
"""What is nested deeper is not read anyway."""
_STEP_BYTES = 16 * 1024
_COMMA_OR_QUOTE = re.compile(b'[,"]')
_OTHERS = bytes(set(range(256)) - set(b'[{]}"'))
_OPENED = {ord("["): b"[", ord("{"): b'{"":'}
_CLOSED = bytes.maketrans(b"[{", b"]}")
_WHITE = b" \t\r\n"
skip = msgspec.json.Decoder(msgspec.Raw).decode
"""Reads a document and makes nothing of it. Raises DecodeError, RecursionError."""


class _Cut(NamedTuple):
    """`opened`: brackets that are open there, the outermost first. `string`: it is in one; `name`: in that of a member;
    otherwise it is behind a comma."""

    at: int
    opened: bytes
    string: bool
    name: bool = False

    def closed(self) -> bytes:
        """What makes a document of all before it."""
        closed = self.opened[::-1].translate(_CLOSED)
        if self.string:
            return (b'":0' if self.name else b'"') + closed
        return (b'"":0' if self.opened.endswith(b"{") else b"0") + closed

    def resumed(self) -> bytes:
        """What may stand in the place of all before it."""
        around = b"".join(map(_OPENED.__getitem__, self.opened[:-1]))
        innermost = self.opened[-1:]
        if not self.string:
            return around + (b'{"":0,' if innermost == b"{" else b"[0,")
        if self.name:
            return around + b'{"'
        return around + b"".join(map(_OPENED.__getitem__, innermost)) + b'"'


def is_valid_in_parts(data: bytes) -> bool:
    """True: it is, and nested no deeper than is read. False: that must be asked of the whole."""
    cut, begun = _Cut(0, b"", string=False), b""
    while len(data) - cut.at > 2 * PART_BYTES:
        following = _next(data, cut)
        if following is None or not _is_valid(begun + data[cut.at : following.at] + following.closed()):
            return False
        cut, begun = following, following.resumed()
    rest = data[cut.at :]
    return _is_valid(begun + rest) and _opened(cut, _quoted(rest)) == b""


def _is_valid(document: bytes) -> bool:
    try:
        if not document.isascii():
            document.decode()
        skip(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _next(data: bytes, last: _Cut) -> _Cut | None:
    """None: there is none nearby, or the document is not valid."""
    near = data[last.at : last.at + PART_BYTES + NEAR_BYTES]
    quoted = _quoted(near)
    at, inside = PART_BYTES, last.string ^ (quoted.count(b'"', 0, PART_BYTES) % 2 == 1)
    text_at = None
    while True:
        if inside:
            text_at = at
            at = quoted.find(b'"', at) + 1
        found = _COMMA_OR_QUOTE.search(quoted, at) if at else None
        if found is None:
            return None if text_at is None else _in_string(quoted, last, between_escapes(near, 0, text_at))
        at, inside = found.end(), found[0] == b'"'
        if not inside:
            opened = _opened(last, quoted[:at])
            return _Cut(last.at + at, opened, string=False) if opened else None


def _quoted(part: bytes) -> bytes:
    """The same with nothing in its strings that may be taken for a quote."""
    return joined(without_escapes(part, b"__")) if b"\\" in part else part


def _in_string(quoted: bytes, last: _Cut, at: int) -> _Cut | None:
    begins = quoted.rfind(b'"', 0, at)
    if begins < 0:
        return _Cut(last.at + at, last.opened, string=True, name=last.name)
    opened = _opened(last, quoted[:at])
    if opened is None:
        return None
    before = quoted[max(0, begins - NEAR_BYTES) : begins].rstrip(_WHITE)
    if not before and begins > NEAR_BYTES:
        return None
    name = opened.endswith(b"{") and not before.endswith(b":")
    return _Cut(last.at + at, opened, string=True, name=name)


def _opened(last: _Cut, quoted: bytes) -> bytes | None:
    """What is open behind this part. None: more is closed than was open, or it may be nested too deep."""
    inside, opened = int(last.string), last.opened
    for at in range(0, len(quoted), _STEP_BYTES):
        # Two quotes with nothing between change nothing for what stands around them: most strings hold no brackets.
        signs = quoted[at : at + _STEP_BYTES].translate(None, delete=_OTHERS).replace(b'""', b"")
        texts = signs.split(b'"')
        brackets, depth = _without_pairs(b"".join(texts[inside::2]))
        inside ^= (len(texts) - 1) % 2
        depth += len(opened) + len(brackets)
        opened, _ = _without_pairs(opened + brackets)
        if depth > DEEPEST or opened.strip(b"[{"):
            return None
    return opened


def _without_pairs(brackets: bytes) -> tuple[bytes, int]:
    """And how deep they were."""
    for depth in range(DEEPEST + 1):
        left = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(left) == len(brackets):
            return left, depth
        brackets = left
    return brackets, DEEPEST + 1
