"""Where a request begins, read without the parser: only what there are no two ways to read."""

import re
from typing import NamedTuple

from toolpolicy_sidecar.heads import END, HEAD_BYTES, Key, split

_LINE = re.compile(
    rb"(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) ((?:http://[A-Za-z0-9.\-]+(?::[0-9]{1,5})?)?/[!-\"$-~]*) HTTP/1\.1\r\n"
)


class Begin(NamedTuple):
    """`key` and `length` as `heads.split` has them; `body_at`: how many bytes the head has."""

    method: bytes
    target: bytes
    key: Key
    length: int | None
    body_at: int


def begin(data: bytes, limit_bytes: int) -> Begin | None:
    """None: it is for the parser. `limit_bytes`: for the head."""
    line = _LINE.match(data)
    if line is None:
        return None
    end = data.find(END, line.end() - 2, min(limit_bytes, HEAD_BYTES))
    if end < 0:
        return None
    body_at = end + len(END)
    key, length = split(data[line.end() - 2 : body_at])
    return Begin(line[1], line[2], key, length, body_at)
