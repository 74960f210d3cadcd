"""An answer on an aiohttp connection, written as bytes: no header is added, renamed or reordered."""

import asyncio
from collections.abc import Iterable

from aiohttp import web
from aiohttp.http import HttpVersion11

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.render import Rendered
from toolpolicy_sidecar.upstream.headers import Header

_CONTENT_LENGTH = b"content-length"
JOINED_BYTES = 64 * 1024
"""Up to this size a piece is copied once, to be sent in one write with what surrounds it."""


class HttpReply(web.StreamResponse):
    """Of a handler's result aiohttp asks `prepare`, `write_eof` and `keep_alive`, and no more: the bytes are ours."""

    def __init__(
        self, request: web.BaseRequest, clock: Clock
    ) -> None:  # deliberately without super's: none of its state is used
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the agent hung up")
        self._transport, self._writer, self._protocol = transport, request.writer, request.protocol
        self._clock = clock
        self._head_only = request.method == "HEAD"
        self._old = request.version < HttpVersion11
        self._keep_alive = request.keep_alive and not self._old
        self._chunked = False
        self.started = False
        self.finished = False
        self.sent_bytes = 0
        self.waiting = False
        self.waited_s = 0.0

    async def whole(self, status: int, headers: Iterable[Header], body: bytes) -> None:
        """Content-Length is ours."""
        self.started = self.finished = True
        if status in {204, 304} or status < 200:
            self._transport.write(self._head(status, b"", headers, None))
            return
        head = self._head(status, b"", headers, len(body))
        self.sent_bytes = 0 if self._head_only else len(body)
        if self._head_only or not body:
            self._transport.write(head)
        elif len(body) <= JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        if self._protocol.writing_paused:
            await self._drained()

    async def start(self, status: int, reason: bytes, headers: Iterable[Header], length: int | None) -> None:
        """`length` None: chunked, or for an old client to the end of the connection."""
        self.started = True
        bodiless = self._head_only or status in {204, 304}
        self._chunked = length is None and not bodiless and not self._old
        self._transport.write(self._head(status, reason, headers, length, chunked=self._chunked))

    async def write(self, piece: bytes | bytearray | memoryview) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the agent hung up")
        if self._head_only or not piece:
            return
        self.sent_bytes += len(piece)
        if not self._chunked:
            self._transport.write(piece)
        elif len(piece) <= JOINED_BYTES:
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)))
        else:
            self._transport.write(b"%x\r\n" % len(piece))
            self._transport.write(piece)
            self._transport.write(b"\r\n")
        if self._protocol.writing_paused:
            await self._drained()

    async def finish(self) -> None:
        self.finished = True
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        if self._protocol.writing_paused:
            await self._drained()

    def abort(self) -> None:
        """What was sent is not the whole answer, and must not look like it."""
        self.finished = True
        self._keep_alive = False
        self._transport.abort()

    def close_after(self) -> None:
        """The connection is not used again."""
        self._keep_alive = False

    def hand_over(self) -> asyncio.Transport:
        """The connection is a tunnel from now on: nothing else is answered here."""
        self.started = self.finished = True
        self._keep_alive = False
        return self._transport

    def go_on(self) -> None:
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _head(
        self,
        status: int,
        reason: bytes,
        headers: Iterable[Header],
        length: int | None,
        *,
        chunked: bool = False,
    ) -> bytes:
        lines = [b"HTTP/1.1 %d %b" % (status, reason or _PHRASES.get(status, b""))]
        lines += [b"%b: %b" % header for header in headers if header[0].lower() != _CONTENT_LENGTH]
        if length is not None:
            lines.append(b"Content-Length: %d" % length)
        elif chunked:
            lines.append(b"Transfer-Encoding: chunked")
        if not self._keep_alive:
            lines.append(b"Connection: close")
        lines.append(b"\r\n")
        return b"\r\n".join(lines)

    async def _drained(self) -> None:
        began = self._clock.monotonic()
        self.waiting = True
        await self._writer.drain()
        self.waiting = False
        self.waited_s += self._clock.monotonic() - began

    # aiohttp
    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002 -- aiohttp's signature
        return

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 -- aiohttp's signature
        if not self.finished:  # an answer without an end would leave the agent waiting
            self.abort()

    def __repr__(self) -> str:
        return f"<HttpReply {'finished' if self.finished else 'started' if self.started else 'new'}>"


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
