"""A request whose head was read, and what a listener needs to answer it."""

from typing import TYPE_CHECKING

from toolpolicy_sidecar.listeners.http_body import HttpBody
from toolpolicy_sidecar.listeners.http_head import Head
from toolpolicy_sidecar.listeners.http_reply import HttpReply

if TYPE_CHECKING:
    from toolpolicy_sidecar.listeners.http_connection import Connection


class Asked:
    """`target`: of the request line, as it came. `arrived` in monotonic seconds and `arrived_ms` since 1970: when it
    was this request's turn."""

    __slots__ = ("arrived", "arrived_ms", "body", "connection", "head", "method", "reply", "target")

    def __init__(
        self,
        connection: "Connection",
        method: str,
        target: str,
        head: Head,
        length: int | None,
        *,
        limit_bytes: int,
    ) -> None:
        """`length`: of its body, as in Head."""
        self.connection, self.method, self.target, self.head = connection, method, target, head
        self.arrived, self.arrived_ms = 0.0, 0
        self.reply = HttpReply(
            connection, head_only=method == "HEAD", old=head.old, keep_alive=head.keep_alive
        )
        self.body = HttpBody(connection, self.reply, length, limit_bytes, head.noted.get(b"expect"))
