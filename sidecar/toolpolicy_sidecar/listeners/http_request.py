"""A request whose head was read, and what a listener needs to answer it."""

from typing import TYPE_CHECKING

import msgspec

from toolpolicy_sidecar.listeners.http_body import HttpBody
from toolpolicy_sidecar.listeners.http_head import Head
from toolpolicy_sidecar.listeners.http_reply import HttpReply

if TYPE_CHECKING:
    from toolpolicy_sidecar.listeners.http_connection import Connection


class Asked(msgspec.Struct, eq=False):
    """`target`: of the request line, as it came. `arrived` in monotonic seconds and `arrived_ms` since 1970: when it
    was this request's turn."""

    connection: "Connection"
    method: str
    target: str
    head: Head
    body: HttpBody
    reply: HttpReply
    arrived: float = 0.0
    arrived_ms: int = 0
