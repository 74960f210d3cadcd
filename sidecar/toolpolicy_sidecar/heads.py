"""Heads of messages that have come before. Who speaks HTTP to the sidecar writes nearly the same head again and again:
to read it once is enough. What is kept was read by the parser, from the same bytes but for the digits of
Content-Length; everything else goes to the parser as ever."""

import re
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from toolpolicy_sidecar.upstream.headers import Header

T = TypeVar("T")

Key = tuple[bytes, bytes]
"""What stands before the digits of Content-Length, and what after; b"" for a head without it."""

END = b"\r\n\r\n"
HEAD_BYTES = 4096
"""Longer ones are not kept."""
KEPT = 128
"""Heads come from others: no more are kept."""
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,15})\r\n")


class Heads(Generic[T]):
    """What was made of heads. One that comes only once costs no more than its bytes: `T` is kept of those that come
    again."""

    def __init__(self) -> None:
        self._kept: dict[Key, T | None] = {}
        self.get: Callable[[Key], T | None] = self._kept.get

    def comes_again(self, key: Key) -> bool:
        """Has it come before? Else it has now."""
        kept = self._kept
        if key in kept:
            return True
        if len(kept) >= KEPT:
            del kept[next(iter(kept))]
        kept[key] = None
        return False

    def keep(self, key: Key, made: T) -> None:
        if key in self._kept:
            self._kept[key] = made


def split(lines: bytes) -> tuple[Key, int | None]:
    """Of header lines from the CRLF in front of the first to the empty one. With the number in Content-Length; None:
    there is none, or none that is written in the usual way."""
    found = _LENGTH.search(lines)
    if found is None:
        return (lines, b""), None
    start, end = found.span(1)
    return (lines[:start], lines[end:]), int(found[1])


def plain(key: Key, length: int | None, headers: Iterable[Header], first: bytes = b"") -> bool:
    """Is this, in the one way to write it, what the parser has read: the `first` line, where it is part of the key, and
    `headers`? Then it has read nothing else, and would have read the same with other digits."""
    digits = b"" if length is None else b"%d" % length
    lines = [b"%b: %b" % header for header in headers]
    return digits.join(key) == b"\r\n".join((first, *lines)) + END
