"""An answer, written as bytes: no header is added, renamed or reordered."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from toolpolicy_sidecar.remembered import remembered_headers
from toolpolicy_sidecar.render import Rendered
from toolpolicy_sidecar.upstream.headers import Header

if TYPE_CHECKING:
    from toolpolicy_sidecar.listeners.http_connection import Connection

_CONTENT_LENGTH = b"content-length"


class HttpReply(msgspec.Struct, eq=False):
    """The answer to one request. `old`: the agent speaks HTTP/1.0, or less."""

    _connection: "Connection"
    _head_only: bool
    old: bool
    keep_alive: bool
    started: bool = False
    finished: bool = False
    handed_over: bool = False
    sent_bytes: int = 0
    waiting: bool = False
    waited_s: float = 0.0
    _chunked: bool = False

    async def whole(self, status: int, headers: Iterable[Header], body: bytes) -> None:
        """Content-Length is ours."""
        self.started = self.finished = True
        bodiless = status in {204, 304} or status < 200
        head = self._head(status, b"", headers, None if bodiless else len(body))
        if bodiless or self._head_only:
            self._connection.out.write(head)
        else:
            self.sent_bytes = len(body)
            self._connection.out.message(head, body)
        if self._connection.writing_paused:
            await self._drained()

    async def start(self, status: int, reason: bytes, headers: Iterable[Header], length: int | None) -> None:
        """`length` None: chunked, or for an old client to the end of the connection."""
        self.started = True
        bodiless = self._head_only or status in {204, 304}
        self._chunked = length is None and not bodiless and not self.old
        self._connection.out.write(self._head(status, reason, headers, length, chunked=self._chunked))

    async def write(self, piece: bytes | bytearray | memoryview) -> None:
        if self._connection.transport.is_closing():
            raise ConnectionResetError("the agent hung up")
        if self._head_only or not piece:
            return
        self.sent_bytes += len(piece)
        if self._chunked:
            piece = b"".join((b"%x\r\n" % len(piece), piece, b"\r\n"))
        self._connection.out.write(piece)
        if self._connection.writing_paused:
            await self._drained()

    async def finish(self) -> None:
        self.finished = True
        if self._chunked:
            self._connection.out.write(b"0\r\n\r\n")
        if self._connection.writing_paused:
            await self._drained()

    def abort(self) -> None:
        """What was sent is not the whole answer, and must not look like it."""
        self.finished = True
        self.keep_alive = False
        self._connection.out.flush()
        self._connection.transport.abort()

    def close_after(self) -> None:
        """The connection is not used again."""
        self.keep_alive = False

    def hand_over(self) -> asyncio.Transport:
        """The connection is a tunnel from now on: nothing else is answered here."""
        self.started = self.finished = self.handed_over = True
        self.keep_alive = False
        self._connection.out.flush()
        return self._connection.transport

    def switch(self, headers: Iterable[Header]) -> asyncio.Transport:
        """To a WebSocket, as `hand_over`. Raises ConnectionError."""
        if self._connection.transport.is_closing():
            raise ConnectionResetError("the agent hung up")
        lines = [b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: websocket"]
        lines += [b"%b: %b" % header for header in headers]
        self._connection.out.write(b"\r\n".join((*lines, b"\r\n")))
        return self.hand_over()

    def go_on(self) -> None:
        self._connection.out.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _head(
        self,
        status: int,
        reason: bytes,
        headers: Iterable[Header],
        length: int | None,
        *,
        chunked: bool = False,
    ) -> bytes:
        framing = b""
        if length is not None:
            framing = b"\r\nContent-Length: %d" % length
        elif chunked:
            framing = b"\r\nTransfer-Encoding: chunked"
        if not self.keep_alive:
            framing += b"\r\nConnection: close"
        phrase = reason or _PHRASES.get(status, b"")
        return b"HTTP/1.1 %d %b%b%b\r\n\r\n" % (status, phrase, _lines(tuple(headers)), framing)

    async def _drained(self) -> None:
        now = self._connection.clock.monotonic
        began = now()
        self.waiting = True
        await self._connection.drained()
        self.waiting = False
        self.waited_s += now() - began


@remembered_headers
def _lines(headers: tuple[Header, ...]) -> bytes:
    """All but Content-Length."""
    return b"".join([b"\r\n%b: %b" % header for header in headers if header[0].lower() != _CONTENT_LENGTH])


def last_words(rendered: Rendered) -> bytes:
    """On a connection that is closed after it."""
    lines = [b"HTTP/1.1 %d %b" % (rendered.status, _PHRASES.get(rendered.status, b""))]
    lines += [b"%b: %b" % header for header in rendered.headers]
    lines.append(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(rendered.body))
    return b"\r\n".join(lines) + rendered.body


_PHRASES = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    403: b"Forbidden",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
