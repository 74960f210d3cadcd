"""Where a request begins, read without the parser: only what there are no two ways to read."""

import re
from typing import NamedTuple

from toolpolicy_sidecar.call import TRACEPARENT
from toolpolicy_sidecar.heads import END, HEAD_BYTES, Key, split

_LINE = re.compile(
    rb"(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) ((?:http://[A-Za-z0-9.\-]+(?::[0-9]{1,5})?)?/[!-\"$-~]*) HTTP/1\.1\r\n"
)
_TRACE_BEGINS = b"\r\n%b: " % TRACEPARENT
_TRACE = re.compile(rb"%b([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(?=\r\n)" % _TRACE_BEGINS)


class Trace(NamedTuple):
    """A traceparent, of which no two requests have the same. `place`: among the head's headers."""

    traceparent: bytes
    place: int


class Begin(NamedTuple):
    """`key` and `length` as `heads.split` has them, of a head without its `trace`; `body_at`: how many bytes the head
    has."""

    method: bytes
    target: bytes
    key: Key
    length: int | None
    body_at: int
    trace: Trace | None


def begin(data: bytes, limit_bytes: int) -> Begin | None:
    """None: it is for the parser. `limit_bytes`: for the head."""
    line = _LINE.match(data)
    if line is None:
        return None
    end = data.find(END, line.end() - 2, min(limit_bytes, HEAD_BYTES))
    if end < 0:
        return None
    body_at = end + len(END)
    lines, trace = data[line.end() - 2 : body_at], None
    at = lines.find(_TRACE_BEGINS)
    found = _TRACE.match(lines, at) if at >= 0 else None
    if found is not None:
        lines = lines[:at] + lines[found.end() :]
    key, length = split(lines)
    if found is not None:
        before = lines.count(b"\r\n", 0, at) - (length is not None and len(key[0]) < at)
        trace = Trace(found[1], before)
    return Begin(line[1], line[2], key, length, body_at, trace)
