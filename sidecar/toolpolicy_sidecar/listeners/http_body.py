"""A request body as it comes on a connection, bounded in size and time."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason

if TYPE_CHECKING:
    from toolpolicy_sidecar.listeners.http_connection import Connection
    from toolpolicy_sidecar.listeners.http_reply import HttpReply


class HttpBody(msgspec.Struct, eq=False):
    """A body that is not read to its end leaves a connection on which the next request cannot be found: it is closed
    after the answer. With 100-continue in `_expect` the agent waits to be told to go on before it sends."""

    _connection: "Connection"
    _reply: "HttpReply"
    length: int | None
    _limit_bytes: int
    _expect: bytes | None
    problem: Problem | None = None
    waiting: bool = False
    waited_s: float = 0.0
    ended: bool = False
    """All of it has come."""
    unread_bytes: int = 0
    _due: float = 0.0
    _pieces: list[bytes] = []
    _waiter: asyncio.Future[None] | None = None
    _broken: bool = False
    _discarding: bool = False

    def bound(self, due: float, limit_bytes: int | None = None) -> None:
        """`due`: monotonic seconds, when all of it must have come. `limit_bytes`: another one than the listener's."""
        self._due = due
        if limit_bytes is not None:
            self._limit_bytes = limit_bytes

    # the connection's side
    def feed(self, piece: bytes) -> None:
        if self._discarding:
            return
        self._pieces.append(piece)
        self.unread_bytes += len(piece)
        if self._waiter is not None:
            self._wake()

    def come(self, whole: bytes) -> None:
        """All of it at once, before anybody waits for it."""
        if whole:
            self._pieces.append(whole)
            self.unread_bytes = len(whole)
        self.ended = True

    def end(self) -> None:
        self.ended = True
        if self._waiter is not None:
            self._wake()

    def broken(self) -> None:
        """It is framed wrongly: nothing of it follows."""
        self._broken = True
        self._wake()

    async def discarded(self) -> None:
        """Until its end has come, or will never come."""
        self._discarding = True
        self._take()
        while not self.ended and not self._broken:
            await self._more()

    # the reader's side
    async def whole(self, deadline: float | None = None) -> bytes:
        self._begin()
        if not self.ended:
            return b"".join([piece async for piece in self._timed(deadline)])
        if self._broken:
            raise self._malformed()
        if self.unread_bytes > self._limit_bytes:
            raise self._over()
        return self._take()

    def pieces(self) -> AsyncIterator[bytes]:
        self._begin()
        return self._timed(None)

    def _begin(self) -> None:
        if self.length is not None and self.length > self._limit_bytes:
            raise self._over()
        if self._expect is not None:
            if self._expect.lower() == b"100-continue" and not self.ended:
                self._reply.go_on()
            self._expect = None

    def _take(self) -> bytes:
        pieces = self._pieces
        if not pieces:
            return b""
        taken = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self.unread_bytes = 0
        if self._connection.paused:
            self._connection.flow()
        return taken

    async def _timed(self, deadline: float | None) -> AsyncIterator[bytes]:
        due = self._due if deadline is None else min(deadline, self._due)
        loop, now = asyncio.get_running_loop(), self._connection.clock.monotonic
        size = 0
        while True:
            if not self._pieces and not self.ended and not self._broken:
                began = now()
                self.waiting = True
                try:
                    async with asyncio.timeout_at(loop.time() + due - began):
                        await self._more()
                except TimeoutError:
                    raise self._stopped(Reason.RequestTimeout, "its body did not come in time") from None
                self.waiting = False
                self.waited_s += now() - began
            if self._broken:
                raise self._malformed()
            piece = self._take()
            if not piece:
                if self.ended:
                    return
                continue
            size += len(piece)
            if size > self._limit_bytes:
                raise self._over()
            yield piece

    async def _more(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _over(self) -> Stopped:
        return self._stopped(Reason.BodyTooLarge, f"its body is over {self._limit_bytes} bytes")

    def _malformed(self) -> Stopped:
        return self._stopped(Reason.MalformedRequest, "its body is framed wrongly")

    def _stopped(self, reason: Reason, text: str) -> Stopped:
        self._reply.close_after()
        self.problem = Problem(reason, text)
        return Stopped(self.problem)
