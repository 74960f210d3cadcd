"""Server-sent events, split as they arrive; what is not changed goes on byte for byte."""

import re
from typing import NamedTuple

_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventTooLarge(Exception):  # noqa: N818 -- names what happened
    """One event is over the limit."""


class Event(NamedTuple):
    """`raw` is the event with its blank line. `data` is what its data lines say, None when it has none."""

    raw: bytes
    data: bytes | None


class Splitter:
    """Feed it pieces, cut anywhere; it gives whole events."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._pending = b""

    def feed(self, piece: bytes) -> list[Event]:
        """Raises EventTooLarge."""
        self._pending += piece
        events = []
        start = 0
        for match in _END.finditer(self._pending):
            # A CR at the very end may be the first half of CRLF: the blank line is complete with the next piece.
            if match.end() == len(self._pending) and self._pending.endswith(b"\r"):
                break
            events.append(event(self._pending[start : match.end()]))
            start = match.end()
        self._pending = self._pending[start:]
        if len(self._pending) > self._limit_bytes:
            raise EventTooLarge
        return events

    def rest(self) -> bytes:
        """What came after the last whole event."""
        return self._pending


def event(raw: bytes) -> Event:
    lines = _LINE.split(raw.removeprefix(_BOM))
    data = [_value(line) for line in lines if line == b"data" or line.startswith(b"data:")]
    return Event(raw, b"\n".join(data) if data else None)


def _value(line: bytes) -> bytes:
    return line.removeprefix(b"data").removeprefix(b":").removeprefix(b" ")


def replaced(original: Event, data: bytes) -> bytes:
    """The event with other data on one line; ids, names and comments stay."""
    kept = [
        line
        for line in _LINE.split(original.raw)
        if line and line != b"data" and not line.startswith(b"data:")
    ]
    return b"\n".join([*kept, b"data: " + data, b"", b""])


def message(data: bytes) -> bytes:
    """An event that carries one JSON-RPC message."""
    return b"event: message\ndata: " + data + b"\n\n"
