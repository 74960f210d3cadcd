"""Server-sent events, split as they arrive; what is not changed goes on byte for byte."""

from collections.abc import Callable
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
_END = (b"\n", b"\r")
_OF_DATA = frozenset({b":", b"\r", b"\n", b""})
"""What may follow the name of a data line."""


class EventTooLarge(Exception):  # noqa: N818 -- names what happened
    """One event is over the limit."""


class Event(NamedTuple):
    """`raw` is everything up to and with the blank line. `data` is what its data lines say, None: it has none."""

    raw: bytes
    data: bytes | None
    identified: bool
    """It has an `id:` line, so a client may resume after it."""
    beside: bytes = b""
    """Its other lines: names, ids, comments."""


class Splitter:
    """Feed it pieces, cut anywhere; it gives whole events. Comments before an event are given at once: they
    keep connections alive.
    A CR at the end of a piece may be half of a CRLF: after a CRLF its LF is waited for, else it is taken as it is."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._pending = b""
        self._searched = 0

    def feed(self, piece: bytes) -> list[Event]:
        """Raises EventTooLarge."""
        data = self._pending + piece if self._pending else piece
        events: list[Event] = []
        start, at = 0, max(0, self._searched - 3)
        while blank := _blank(data, at):
            begins, ends = blank
            if ends == len(data) and data[begins:] == b"\r\n\r":
                break
            events.append(event(data[start:ends]))
            start = at = ends
        while data.startswith(b":", start) and (ends := _line_end(data, start)):
            events.append(event(data[start:ends]))
            start = ends
        self._pending = data[start:] if start else data
        self._searched = len(self._pending)
        if self._searched > self._limit_bytes:
            raise EventTooLarge
        if any(len(found.raw) > self._limit_bytes for found in events):
            raise EventTooLarge
        return events

    def end(self) -> list[Event]:
        """No more pieces come: the event that had waited for the LF of its blank line, if there is one."""
        blank = _blank(self._pending, 0)
        if blank is None:
            return []
        last, self._pending = self._pending[: blank[1]], self._pending[blank[1] :]
        return [event(last)]

    def rest(self) -> bytes:
        """What came after the last whole event."""
        return self._pending


def _blank(data: bytes, at: int) -> tuple[int, int] | None:
    """The first two ends of lines in a row from `at` on: where the first begins, and the second ends."""
    line_feed, carriage_return = data.find(b"\n", at), data.find(b"\r", at)
    while line_feed >= 0 or carriage_return >= 0:
        begins = line_feed if carriage_return < 0 or 0 <= line_feed < carriage_return else carriage_return
        ends = _after_end(data, begins)
        if data.startswith(_END, ends):
            return begins, _after_end(data, ends)
        if 0 <= line_feed < ends:
            line_feed = data.find(b"\n", ends)
        if 0 <= carriage_return < ends:
            carriage_return = data.find(b"\r", ends)
    return None


def _line_end(data: bytes, at: int) -> int:
    """Behind it; 0: the line has not ended yet."""
    found = [place for place in (data.find(b"\n", at), data.find(b"\r", at)) if place >= 0]
    return _after_end(data, min(found)) if found else 0


def _after_end(data: bytes, at: int) -> int:
    """A CRLF is never taken for two ends of line."""
    return at + 2 if data.startswith(b"\r\n", at) else at + 1


def event(raw: bytes) -> Event:
    data: list[bytes] | None = None
    beside: list[bytes] = []
    identified = False
    for line in raw.removeprefix(_BOM).splitlines():
        if line.startswith(b"data") and line[4:5] in {b"", b":"}:
            value = line[5:].removeprefix(b" ")
            data = [value] if data is None else [*data, value]
        elif line:
            beside.append(line)
            if line.startswith(b"id") and line[2:3] in {b"", b":"}:
                identified = True
    return Event(raw, None if data is None else b"\n".join(data), identified, b"\n".join(beside))


def replaced(original: Event, data: bytes) -> bytes:
    """The event with other data in the place of its first data line; every other line stays byte for byte."""
    lines: list[bytes] = []
    written = False
    for line in original.raw.splitlines(keepends=True):
        if not _is_data(line):
            lines.append(line)
        elif not written:
            written = True
            bom = _BOM if line.startswith(_BOM) else b""
            end = line[len(line.rstrip(b"\r\n")) :]
            *parts, last = (data + b".").splitlines()
            lines.append(bom + b"".join([b"data: %b%b" % (part, end) for part in (*parts, last[:-1])]))
    return b"".join(lines)


def rewritten(raw: bytes, rewrite: Callable[[bytes], bytes]) -> bytes:
    """An event with each line that is none of data as `rewrite` makes it; both without its end."""
    lines: list[bytes] = []
    for line in raw.splitlines(keepends=True):
        text = line.removeprefix(_BOM).rstrip(b"\r\n")
        if text and not _is_data(line):
            at = line.index(text)
            lines += (line[:at], rewrite(text), line[at + len(text) :])
        else:
            lines.append(line)
    return b"".join(lines)


def _is_data(line: bytes) -> bool:
    field = line.removeprefix(_BOM)
    return field.startswith(b"data") and field[4:5] in _OF_DATA


def message(data: bytes) -> bytes:
    """An event that carries one JSON-RPC message. `data` has no line ends: it is compact JSON."""
    return b"event: message\r\ndata: " + data + b"\r\n\r\n"
