"""A request body as aiohttp gives it, bounded in size and time."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.streams import StreamReader

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.listeners.http_reply import HttpReply
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason


class HttpBody:
    """`expected`: the agent waits to be told to go on before it sends. A body that is not read to its end leaves a
    connection on which the next request cannot be found: it is closed after the answer."""

    def __init__(
        self,
        content: StreamReader,
        length: int | None,
        *,
        limit_bytes: int,
        deadline: float,
        clock: Clock,
        reply: HttpReply,
        expected: bool,
    ) -> None:
        self.length = length
        self.problem: Problem | None = None
        self.waiting = False
        self.waited_s = 0.0
        self._content = content
        self._limit_bytes = limit_bytes
        self._deadline = deadline
        self._clock = clock
        self._reply = reply
        self._expected = expected

    async def whole(self, deadline: float | None = None) -> bytes:
        self._begin()
        content = self._content
        if content.is_eof():  # it came with the head: nothing to wait for
            return self._checked(self._now())
        pieces = [piece async for piece in self._timed(deadline)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pieces(self) -> AsyncIterator[bytes]:
        self._begin()
        return self._timed(None)

    def _begin(self) -> None:
        if self.length is not None and self.length > self._limit_bytes:
            raise self._over()
        if self._expected:
            self._expected = False
            self._reply.go_on()

    def _now(self) -> bytes:
        try:
            return self._content.read_nowait()
        except (web.RequestPayloadError, ConnectionError):
            raise self._malformed() from None

    def _checked(self, body: bytes) -> bytes:
        if len(body) > self._limit_bytes:
            raise self._over()
        return body

    async def _timed(self, deadline: float | None) -> AsyncIterator[bytes]:
        ends = self._deadline if deadline is None else min(deadline, self._deadline)
        loop = asyncio.get_running_loop()
        size = 0
        while True:
            began = self._clock.monotonic()
            self.waiting = True
            try:
                async with asyncio.timeout_at(loop.time() + ends - began):
                    piece = await self._content.readany()
            except TimeoutError:
                raise self._stopped(Reason.RequestTimeout, "its body did not come in time") from None
            except (web.RequestPayloadError, ConnectionError):
                raise self._malformed() from None
            self.waiting = False
            self.waited_s += self._clock.monotonic() - began
            if not piece:
                return
            size += len(piece)
            if size > self._limit_bytes:
                raise self._over()
            yield piece

    def _over(self) -> Stopped:
        return self._stopped(Reason.BodyTooLarge, f"its body is over {self._limit_bytes} bytes")

    def _malformed(self) -> Stopped:
        self._content.feed_eof()  # nobody is to wait for the rest
        return self._stopped(Reason.MalformedRequest, "its body is framed wrongly")

    def _stopped(self, reason: Reason, text: str) -> Stopped:
        self._reply.close_after()
        self.problem = Problem(reason, text)
        return Stopped(self.problem)
