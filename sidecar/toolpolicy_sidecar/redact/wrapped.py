"""Texts in base64 (both alphabets, with or without padding, in lines or not) and in hexadecimal, inside of other
texts. A long word is no such text by itself: what it stands for must be ASCII, so that hashes, ids and pictures
are passed over at the speed of the search.
"""

import base64
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import re2

from toolpolicy_sidecar.redact.expression import options

_SHORT = 64
"""Characters: in so short a run a wrong beginning is tried again one character later."""
_LONG_BYTES = 24
_UNUSUAL = bytes(
    set(range(128)) - set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .-_@:/=+,")
)
_UNSEEN = bytes(set(range(32)) - set(b"\t\n\r")) + b"\x7f"

# The three bytes of four characters are ASCII when these bits are zero: the first of the first character, the
# third of the second, the fifth of the third. The first byte is printable, or white space.
_FIRST, _SECOND, _THIRD = "[CDI-Za-f]", "[A-HQ-Xg-nw-z0-3]", "[ABEFIJMNQRUVYZcdghklopstwx014589]"
_FOUR = rf"{_FIRST}{_SECOND}{_THIRD}[A-Za-z0-9+/_-]"
_BASE64 = rf"(?:{_FOUR}(?:\r?\n)?){{3,}}{_FIRST}{_SECOND}(?:{_THIRD}[A-Za-z0-9+/_-]?)?={{0,2}}"
_HEX = "(?:[2-7][0-9A-Fa-f]|0[9AaDd]){10,}"
"""Ten bytes at least, the length of the shortest number that a detector is sure of."""


EXPRESSION = f"{_BASE64}|{_HEX}"
"""RE2: what looks like one."""
_base64, _hex, _any = (re2.compile(expression, options()) for expression in (_BASE64, _HEX, EXPRESSION))
_STANDARD = bytes.maketrans(b"-_", b"+/")
_WORD = re.compile(rb"[A-Za-z0-9+/_-]")


class Run(NamedTuple):
    """`content` is what `start:end` of a text stands for; `wrap` writes such a content in the same way."""

    start: int
    end: int
    content: bytes
    wrap: Callable[[bytes], bytes]


def runs(text: bytes) -> Iterator[Run]:
    """In order, none inside of another."""
    at = 0
    while match := _any.search(text, at):
        start, end = match.span()
        run = _base64_run(text, start) or _hex_run(text, start)
        if run is not None:
            yield run
            at = run.end
        else:
            at = start + 1 if end - start <= _SHORT else end


def contents(text: bytes) -> bytes:
    """Of all runs, one below the other."""
    return b"\n".join(run.content for run in runs(text))


def _base64_run(text: bytes, start: int) -> Run | None:
    match = _base64.match(text, start)
    if match is None:
        return None
    written = match.group()
    bare = written.translate(_STANDARD, b"=\r\n")
    content = base64.b64decode(bare + b"=" * (-len(bare) % 4))
    if not _is_text(content):
        return None
    urlsafe = written.translate(None, b"-_") != written
    inside = _WORD.match(text, match.end()) is not None
    padded = len(bare) % 4 == 0 or written.endswith(b"=")

    def wrap(content: bytes) -> bytes:
        if inside:  # more of the same word follows: it must begin with a new group of four characters
            content += b" " * (-len(content) % 3)
        encoded = base64.urlsafe_b64encode(content) if urlsafe else base64.b64encode(content)
        return encoded if padded else encoded.rstrip(b"=")

    return Run(start, match.end(), content, wrap)


def _hex_run(text: bytes, start: int) -> Run | None:
    match = _hex.match(text, start)
    if match is None:
        return None
    written = match.group()
    content = bytes.fromhex(written.decode())
    if not _is_text(content):
        return None
    lower = written == written.lower()

    def wrap(content: bytes) -> bytes:
        return content.hex().encode() if lower else content.hex().upper().encode()

    return Run(start, match.end(), content, wrap)


def _is_text(content: bytes) -> bool:
    """Random bytes are rarely so many printable characters, and a few of them rarely so common ones."""
    strange = _UNSEEN if len(content) >= _LONG_BYTES else _UNUSUAL
    return content.isascii() and 10 * (len(content) - len(content.translate(None, strange))) <= len(content)
