"""Two connections joined: bytes, ends and errors of one go to the other, as fast as the slower one reads."""

import asyncio
from typing import cast

BUFFER_BYTES = 64 * 1024
"""Beyond this much that one side has not read, the other is not read from."""


class Tunnel:
    """`near` is the agent's end, `far` the other. It is over when `closed` returns; `error` says why, unless one side
    closed it."""

    def __init__(self, idle_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_s, self._active = idle_s, self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.near, self.far = End(self), End(self)
        self.near.other, self.far.other = self.far, self.near
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.error: str | None = None

    def join(self, transport: asyncio.Transport, early: bytes) -> None:
        """`transport`: the agent's, paused; the far end is connected. `early`: what the agent has sent already."""
        transport.set_protocol(self.near)
        self.near.connection_made(transport)
        self._look()
        transport.write(self.far.held)
        if self.far.gone:
            self.lost(self.far, None if self.error is None else ConnectionResetError(self.error))
            return
        if self.far.ended:
            _end(transport)
        elif not self.near.writing_paused:
            cast("asyncio.Transport", self.far.transport).resume_reading()
        if early:
            self.near.data_received(early)
        if not self.far.writing_paused:
            transport.resume_reading()

    async def closed(self) -> None:
        """Both sides are."""
        await asyncio.shield(self._closed)

    def cut(self, why: str) -> None:
        """At once, both sides, if they are still open."""
        if self._closed.done():
            return
        self.error = self.error or why
        for end in (self.near, self.far):
            if end.transport is not None:
                end.transport.abort()

    def moved(self) -> None:
        self._active = self._loop.time()

    def lost(self, end: "End", error: Exception | None) -> None:
        if error is not None:
            self.error = self.error or str(error)
        other = end.other.transport
        if other is not None and not end.other.gone:
            if error is None:
                other.close()  # what it has not read yet is sent first
            else:
                other.abort()
        if self.near.gone and self.far.gone and not self._closed.done():
            if self._timer:
                self._timer.cancel()
            self._closed.set_result(None)

    def _look(self) -> None:
        left_s = self._active + self._idle_s - self._loop.time()
        if left_s <= 0:
            self.cut(f"nothing moved for {self._idle_s:.0f} s")
        else:
            self._timer = self._loop.call_later(left_s, self._look)


class End(asyncio.Protocol):
    other: "End"

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self.transport: asyncio.Transport | None = None
        self.received_bytes = 0
        self.held = b""
        """What came before there was another side."""
        self.ended = self.gone = self.writing_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        self._tunnel.moved()
        self.received_bytes += len(data)
        if self.other.transport is None:
            self.held += data
            if self.transport is not None:
                self.transport.pause_reading()
        else:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """The other side may still have much to say; with TLS this one hears nothing more."""
        self._tunnel.moved()
        self.ended = True
        other = self.other
        halves = cast("asyncio.Transport", self.transport).can_write_eof()
        if other.transport is None:
            return halves
        if other.gone:
            return False
        if halves and not other.ended:
            return _end(other.transport)
        other.transport.close()
        return False

    def pause_writing(self) -> None:
        self.writing_paused = True
        if self.other.transport is not None and not self.other.gone:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.writing_paused = False
        self._tunnel.moved()
        if self.other.transport is not None and not self.other.gone:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._tunnel.lost(self, exc)


def _end(transport: asyncio.Transport) -> bool:
    """Nothing more is said to it; false: with TLS that closes it."""
    if not transport.can_write_eof():
        transport.close()
        return False
    transport.write_eof()
    return True
