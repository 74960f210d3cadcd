"""Lines, cut from pieces of any size; bounded, so that nobody fills the memory with one."""

from typing import NamedTuple

EDGE_BYTES = 4 * 1024


class TooLong(NamedTuple):
    """A line over the limit: what is left of it, its first and last 4 KiB."""

    head: bytes
    tail: bytes
    size_bytes: int


class Lines:
    """Feed it pieces; it gives whole lines, without their ends."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._begin()

    def feed(self, piece: bytes) -> list[bytes | TooLong]:
        *whole, rest = piece.split(b"\n")
        found: list[bytes | TooLong] = []
        for part in whole:
            self._add(part)
            found.append(self._end())
        self._add(rest)
        return found

    def rest(self) -> list[bytes | TooLong]:
        """No more pieces come: the line that was never ended, if there is one."""
        return [self._end()] if self._size_bytes else []

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._size_bytes = 0
        self._head: bytes | None = None
        self._tail = b""

    def _add(self, part: bytes) -> None:
        self._size_bytes += len(part)
        if self._size_bytes <= self._limit_bytes:
            self._parts.append(part)
            return
        if self._head is None:
            begun = b"".join(self._parts)
            self._parts.clear()
            self._head, self._tail = (begun + part)[:EDGE_BYTES], begun[-EDGE_BYTES:]
        self._tail = (self._tail + part)[-EDGE_BYTES:]

    def _end(self) -> bytes | TooLong:
        line: bytes | TooLong = (
            b"".join(self._parts) if self._head is None else TooLong(self._head, self._tail, self._size_bytes)
        )
        self._begin()
        return line
