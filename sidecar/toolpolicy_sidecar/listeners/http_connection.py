"""A connection of an agent: aiohttp's, with our words for what it cannot parse, and nothing of it in the log."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, cast

from aiohttp import web
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import ERROR, PayloadAccessError, RequestHandler, _ErrInfo

from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.runtime import Limits
from toolpolicy_sidecar.upstream.origin import Origin

_ANSWERED = PayloadAccessError()
"""Who reads a body after its request was answered gets this."""


class Answering(Protocol):
    """Who answers what comes on it."""

    head_s: float
    """In which the head of a request has to come."""

    @property
    def head_too_large(self) -> Problem: ...

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse: ...

    def unheard(self, problem: Problem) -> bytes:
        """The whole answer to a request whose head does not come."""
        ...

    def unreadable(self, error: BaseException | None) -> web.StreamResponse:
        """To what is no HTTP request."""
        ...


class Connection(RequestHandler):
    """aiohttp's connection handler."""

    listener: Answering
    inside: Origin | None = None
    """Where the tunnel leads whose inside this is."""
    lost: asyncio.Future[None] | None = None
    """Is done when the connection is gone, for who waits for that."""
    large = False
    """A head on it may be over the limit."""
    _partial_bytes = 0
    """What has come of a head that is not complete."""
    _late: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """The requests of this connection, one after the other. As aiohttp does it, but for the task that it makes of
        each: nothing in them changes context variables."""
        loop, manager = self._loop, cast("web.Server", self._manager)
        answer: web.StreamResponse | None = None
        while not self._force_close:
            if not self._messages:
                self._waiter = loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            message, payload = self._messages.popleft()
            if self._parser is not None:
                self._parser.message_consumed()
            if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
                self._resume_reading_if_drained()
            manager.requests_count += 1
            handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = self.listener.handle
            if isinstance(message, _ErrInfo):
                handler, message = self._make_error_handler(message), ERROR
            task = cast("asyncio.Task[None]", self._task_handler)
            request = web.BaseRequest(message, payload, self, StreamWriter(self, loop), task, loop)
            try:
                answer, gone = await self._handle_request(request, None, handler)
                if gone:
                    break
                self._keepalive = bool(answer.keep_alive)
                if not payload.is_eof():
                    await self._linger(payload)
                payload.set_exception(_ANSWERED)
            except ConnectionError:
                break
            except BaseException:
                self.force_close()
                raise
            finally:
                request._task = None  # type: ignore[assignment]  # noqa: SLF001 -- no circle of references
            if not self._keepalive or self._close or self._force_close:
                break
            self._next_keepalive_close_time = loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                at = self._next_keepalive_close_time
                self._keepalive_handle = loop.call_at(at, self._process_keepalive)
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _linger(self, payload: StreamReader) -> None:
        """Who is still sending may not have read our answer yet: closing at once would take it away."""
        if not self._force_close and self._lingering_time:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lingering_time):
                    while not payload.is_eof():
                        await payload.readany()
        if not payload.is_eof() and not self._force_close:
            self.close()

    def taken(self) -> bytes:
        """What came after CONNECT. The transport has another protocol from now on."""
        early, self._message_tail = self._message_tail, b""
        return early

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 -- aiohttp's signature
        """aiohttp asks for it with each body that is read, paused or not, and then parses nothing once more."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._complete()
        if self.lost is not None and not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """A body that turns out to be framed wrongly: aiohttp would tell only once its request is answered."""
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            if len(data) + self._partial_bytes > self.max_field_size:
                self.large = True
            if self._partial_bytes:
                self._complete()
        elif self._waiter is not None and not self._waiter.done():
            self._incomplete(len(data))
        request = self._current_request
        if request is not None and self._messages and not request.content.is_eof():
            # No request can follow a body that has not ended: what is queued is the error.
            request.content.set_exception(web.RequestPayloadError("malformed body"))

    def _incomplete(self, size_bytes: int) -> None:
        """A head comes in pieces. aiohttp would wait for its end like for a request of which nothing has come yet."""
        self._partial_bytes += size_bytes
        if self._partial_bytes > self.max_field_size:
            self._hang_up(self.listener.head_too_large)
        elif self._late is None:
            head_s = self.listener.head_s
            late = Problem(Reason.RequestTimeout, f"its headers did not come within {head_s:g} s")
            self._late = self._loop.call_later(head_s, self._hang_up, late)

    def _complete(self) -> None:
        self._partial_bytes = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self, problem: Problem) -> None:
        self._complete()
        if self.transport is not None:
            self.transport.write(self.listener.unheard(problem))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 -- aiohttp's signature
        status: int = 500,  # noqa: ARG002 -- the same
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- the same
    ) -> web.StreamResponse:
        return self.listener.unreadable(exc)


class Connections(web.Server):
    """Makes our handlers. A client that hangs up cancels its call."""

    def __init__(self, listener: Answering, limits: Limits) -> None:
        super().__init__(
            listener.handle,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=limits.keep_alive_s,
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            max_headers=limits.header_count,
        )
        self._listener = listener

    def __call__(self) -> Connection:
        handler = Connection(self, loop=self._loop, **self._kwargs)
        handler.listener = self._listener
        return handler
