"""A request whose head was read, and what a listener needs to answer it."""

import re
from typing import TYPE_CHECKING

from toolpolicy_sidecar.call import NOTED
from toolpolicy_sidecar.listeners.http_body import HttpBody
from toolpolicy_sidecar.listeners.http_reply import HttpReply
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.upstream.headers import Header

if TYPE_CHECKING:
    from toolpolicy_sidecar.listeners.http_connection import Connection

_HOST = re.compile(rb"[A-Za-z0-9.\-_]*(?::[0-9]*)?|\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")
_NONE: frozenset[bytes] = frozenset()


class Asked:
    """`target`: of the request line, as it came. `noted` and `repeated` as in Incoming. `arrived` in monotonic seconds
    and `arrived_ms` since 1970: when it was this request's turn. `problem`: why it must not be answered otherwise."""

    __slots__ = (
        "arrived",
        "arrived_ms",
        "body",
        "connection",
        "headers",
        "method",
        "noted",
        "problem",
        "repeated",
        "reply",
        "target",
    )

    def __init__(
        self,
        connection: "Connection",
        method: str,
        target: str,
        headers: tuple[Header, ...],
        version: str,
        *,
        keep_alive: bool,
        limit_bytes: int,
    ) -> None:
        self.connection, self.method, self.target, self.headers = connection, method, target, headers
        self.arrived, self.arrived_ms = 0.0, 0
        length: int | None = 0
        chunked = False
        noted: dict[bytes, bytes] = {}
        repeated = _NONE
        for name, value in headers:
            lower = name.lower()
            if lower in NOTED:
                if lower in noted:
                    repeated |= {lower}
                else:
                    noted[lower] = value
            elif lower == b"content-length":
                length = int(value)
            elif lower == b"transfer-encoding":
                # given twice it is a list, of which chunked is the last coding only
                chunked, length = length is not None and value.lower() == b"chunked", None
        self.noted, self.repeated = noted, repeated
        old = version != "1.1"
        self.reply = reply = HttpReply(connection, head_only=method == "HEAD", old=old, keep_alive=keep_alive)
        self.body = HttpBody(connection, reply, length, limit_bytes, noted.get(b"expect"))
        self.problem = _odd(
            version, noted, repeated, coded=length is None and not chunked, sized=length is not None
        )

    @property
    def upgrades(self) -> bool:
        """To a WebSocket; any other upgrade may be ignored (RFC 9110, 7.8)."""
        protocols = self.noted.get(b"upgrade")
        return protocols is not None and b"websocket" in protocols.lower()


def _odd(
    version: str, noted: dict[bytes, bytes], repeated: frozenset[bytes], *, coded: bool, sized: bool
) -> Problem | None:
    """What the parser lets pass and two servers could read in two ways."""
    if version not in {"1.1", "1.0"}:
        return Problem(Reason.MalformedRequest, "this is neither HTTP/1.1 nor HTTP/1.0")
    if version == "1.0" and not sized:
        return Problem(Reason.MalformedRequest, "HTTP/1.0 has no Transfer-Encoding")
    if coded:
        return Problem(Reason.MalformedRequest, "its Transfer-Encoding is not chunked alone")
    if version == "1.1" and b"host" not in noted:
        return Problem(Reason.MalformedRequest, "there is no Host header")
    if b"host" in repeated or not _HOST.fullmatch(noted.get(b"host", b"")):
        return Problem(Reason.MalformedRequest, "the Host header is no host and port")
    return None
