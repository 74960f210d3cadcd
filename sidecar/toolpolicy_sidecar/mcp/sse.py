"""Server-sent events, split as they arrive; what is not changed goes on byte for byte."""

import re
from collections.abc import Callable
from typing import NamedTuple

# Atomic, so that a CRLF is never taken for two ends of line.
_BLANK = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"[^\r\n]*(?>\r\n|\n|\r)?")
_ENDED_LINE = re.compile(rb"[^\r\n]*(?>\r\n|\n|\r)")
_BOM = b"\xef\xbb\xbf"


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
        while match := _BLANK.search(data, at):
            if match.end() == len(data) and match.group() == b"\r\n\r":
                break
            events.append(event(data[start : match.end()]))
            start = at = match.end()
        while data.startswith(b":", start) and (line := _ENDED_LINE.match(data, start)):
            events.append(event(line.group()))
            start = line.end()
        self._pending = data[start:] if start else data
        self._searched = len(self._pending)
        if self._searched > self._limit_bytes:
            raise EventTooLarge
        if any(len(found.raw) > self._limit_bytes for found in events):
            raise EventTooLarge
        return events

    def end(self) -> list[Event]:
        """No more pieces come: the event that had waited for the LF of its blank line, if there is one."""
        match = _BLANK.search(self._pending)
        if match is None:
            return []
        self._pending, last = self._pending[match.end() :], self._pending[: match.end()]
        return [event(last)]

    def rest(self) -> bytes:
        """What came after the last whole event."""
        return self._pending


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
    for line in _LINE.findall(original.raw):
        if not _is_data(line):
            lines.append(line)
        elif not written:
            written = True
            bom = _BOM if line.startswith(_BOM) else b""
            end = line[len(line.rstrip(b"\r\n")) :]
            lines.append(bom + b"".join(b"data: " + part + end for part in re.split(rb"\r\n|\n|\r", data)))
    return b"".join(lines)


def rewritten(raw: bytes, rewrite: Callable[[bytes], bytes]) -> bytes:
    """An event with each line that is none of data as `rewrite` makes it; both without its end."""
    lines: list[bytes] = []
    for line in _LINE.findall(raw):
        text = line.removeprefix(_BOM).rstrip(b"\r\n")
        if text and not _is_data(line):
            at = line.index(text)
            lines += (line[:at], rewrite(text), line[at + len(text) :])
        else:
            lines.append(line)
    return b"".join(lines)


def _is_data(line: bytes) -> bool:
    field = line.removeprefix(_BOM).rstrip(b"\r\n")
    return field == b"data" or field.startswith(b"data:")


def message(data: bytes) -> bytes:
    """An event that carries one JSON-RPC message. `data` has no line ends: it is compact JSON."""
    return b"event: message\r\ndata: " + data + b"\r\n\r\n"
