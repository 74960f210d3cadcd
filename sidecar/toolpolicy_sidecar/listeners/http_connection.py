"""A connection of an agent: bytes in, requests one after the other out of them, with limits on all of it."""

import asyncio
from collections import deque
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, cast

import httptools

from toolpolicy_sidecar.backpressure import BackPressure
from toolpolicy_sidecar.call import TRACEPARENT
from toolpolicy_sidecar.heads import plain
from toolpolicy_sidecar.listeners.http_begin import Begin, begin
from toolpolicy_sidecar.listeners.http_body import HttpBody
from toolpolicy_sidecar.listeners.http_head import Head, read
from toolpolicy_sidecar.listeners.http_reply import HttpReply
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.outgoing import Outgoing
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.upstream.headers import Header
from toolpolicy_sidecar.upstream.origin import Origin

if TYPE_CHECKING:
    from toolpolicy_sidecar.listeners.http_connections import Connections

HIGH_WATER_BYTES = 64 * 1024
"""Beyond this much of a body that nobody has read yet, the agent is not read from."""
_AHEAD = 16
"""Requests that an agent may send before it has the answer to the first."""
_SPACES = frozenset({b" ", b"\t"})
_LINGER_S = 10.0
"""Who is still sending may not have read our answer yet: closing at once would take it away."""


class Connection(BackPressure):
    """Answers in one task of its own. An agent that hangs up cancels it."""

    inside: Origin | None = None
    """Where the tunnel leads whose inside this is."""
    lost: asyncio.Future[None] | None = None
    """Is done when the connection is gone, for who waits for that."""

    def __init__(self, among: "Connections") -> None:
        super().__init__()
        self._among, self._listener, self._limits = among, among.listener, among.limits
        self.clock = among.clock
        self._parser = httptools.HttpRequestParser(self)
        self._task: asyncio.Task[None] | None = None
        self._heard: deque[Asked | Problem] = deque()
        self._turn: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self.paused = False
        """The agent is not read from."""
        self._gone = self._deaf = self._handed = False
        self._early = b""
        # of the head that is being read
        self._partial = False
        self._target = b""
        self._headers: list[Header] = []
        self._begin: Begin | None = None
        """One that has come before, and was not kept yet."""
        self._padding_bytes = 0
        """Spaces behind values."""
        self._partial_bytes = 0
        """That have come since the piece in which it began."""
        # the newest whose head was read, and its body until that has come
        self._asked: Asked | None = None
        self._body: HttpBody | None = None
        self._resumed: HttpBody | None = None
        """One that the parser must be told of."""
        self._left_bytes = 0
        """Of a body that the parser is not told of."""

    # asyncio
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.out = Outgoing(self.transport, self._loop, self._among.in_flight)
        self._among.open.add(self)
        self._task = self._loop.create_task(self._serve())
        self._idle_since = self._loop.time()
        self._timer = self._loop.call_later(self._limits.keep_alive_s, self._look)
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            if self._handed:
                self._early += data
            return
        if self._partial:
            self._partial_bytes += len(data)
        elif self._left_bytes or self._body is None:
            data = self._known(data)
            if not data:
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(cast("Asked", self._asked), data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._stop(cause.problem if isinstance(cause, Stopped) else _NO_REQUEST)
        except httptools.HttpParserError:
            self._stop(_NO_REQUEST)
        self._begin = None
        if self._partial:
            self._incomplete()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, _exc: BaseException | None) -> None:
        if self._gone:
            return
        self._gone = self._deaf = True
        self._among.open.discard(self)
        self._on_time()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._task is not asyncio.current_task(self._loop):
            self._task.cancel()
        self.resume_writing()
        if self.lost is not None and not self.lost.done():
            self.lost.set_result(None)

    # for who answers
    def hands_over(self, asked: Asked) -> bool:
        """The parser has stopped after this request's head: what follows is no HTTP, or nobody's."""
        return self._handed and self._asked is asked

    def taken(self) -> bytes:
        """What came after that head. The transport has another protocol from now on."""
        early, self._early = self._early, b""
        return early

    def flow(self) -> None:
        """Reads on, or not: by what is read already."""
        body = self._body
        full = len(self._heard) > _AHEAD or (body is not None and body.unread_bytes > HIGH_WATER_BYTES)
        if full != self.paused and not self._handed and not self._gone:
            self.paused = full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    async def cut(self) -> None:
        self._deaf = True
        self.out.close()
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    # requests, one after the other
    async def _serve(self) -> None:
        heard = self._heard
        while True:
            if not heard:
                self._idle_since = self._loop.time()
                self._turn = self._loop.create_future()
                await self._turn
                self._turn = None
            asked = heard.popleft()
            if self.paused:
                self.flow()
            if isinstance(asked, Problem):
                self.out.write(self._listener.unheard(asked))
                break
            await self._listener.handle(asked)
            if self._gone or asked.reply.handed_over:
                return
            if not asked.reply.finished:  # an answer without an end would leave the agent waiting
                asked.reply.abort()
            if not asked.body.ended:
                await self._linger(asked.body)
            if not (asked.reply.keep_alive and asked.body.ended):
                break
        self._deaf = True
        self.out.close()

    async def _linger(self, body: HttpBody) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await body.discarded()

    def _next(self, asked: Asked | Problem) -> None:
        self._heard.append(asked)
        if len(self._heard) > _AHEAD:
            self.flow()
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _known(self, data: bytes) -> bytes:
        """Takes the requests whose header lines were read before; what is left, the parser has to read."""
        heads, limits = self._among.heads, self._limits
        while data:
            left_bytes, at = self._left_bytes, 0
            if not left_bytes:
                found = begin(data, limits.header_bytes)
                if found is None:
                    return data
                head = heads.get(found.key)
                if head is None:
                    if heads.comes_again(found.key):
                        self._begin = found
                    return data
                if found.trace is not None:
                    head = head.traced(*found.trace)
                length = (head.length if found.length is None else found.length) or 0
                body = self._asks(found.method.decode(), found.target.decode(), head, length)
                at, end = found.body_at, found.body_at + length
                if end <= len(data) and length <= HIGH_WATER_BYTES:
                    body.come(data[at:end])
                    self._body = None
                    data = data[end:]
                    continue
                left_bytes = length
            piece = data[at : at + left_bytes]
            self._left_bytes = left_bytes - len(piece)
            if piece:
                self.on_body(piece)
            if self._left_bytes:
                break
            self.on_message_complete()
            data = data[at + left_bytes :]
        return b""

    def _stop(self, problem: Problem) -> None:
        """What follows cannot be understood. No request can follow a body that has not ended."""
        self._deaf, self._partial = True, False
        self._on_time()
        body, self._body = self._body, None
        if body is None:
            self._next(problem)
        elif self._heard and self._heard[-1] is self._asked:  # nobody needs to begin with it
            self._heard[-1] = problem
        else:
            body.broken()

    def _upgraded(self, asked: Asked, rest: bytes) -> None:
        """The parser has stopped after the head of a request that asks for another protocol. It gets it, or that is
        ignored: then a body may follow, which the parser left alone."""
        if asked.method == "CONNECT" or asked.head.upgrades:
            self._deaf = self._handed = True
            self._early = rest
            asked.reply.close_after()
            self.transport.pause_reading()
            return
        self._parser = httptools.HttpRequestParser(self)
        length = asked.body.length
        if length != 0:
            asked.body.ended = False
            self._resumed = asked.body
            framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        if rest:
            self.data_received(rest)

    # time
    def _look(self) -> None:
        """At a connection that may have been idle for too long."""
        left_s = self._idle_since + self._limits.keep_alive_s - self._loop.time()
        if self._turn is None or self._late is not None:
            left_s = self._limits.keep_alive_s
        if left_s <= 0:
            self.out.close()
        else:
            self._timer = self._loop.call_later(left_s, self._look)

    def _incomplete(self) -> None:
        """A head comes in pieces."""
        over = self._partial_bytes > self._limits.header_bytes
        problem = self._too_large() if over else self._oversized()
        if problem is not None:
            self._stop(problem)
        elif self._late is None:
            head_s = self._limits.head_s
            self._late = self._loop.call_later(head_s, self._too_late)

    def _too_late(self) -> None:
        text = f"its headers did not come within {self._limits.head_s:g} s"
        self._stop(Problem(Reason.RequestTimeout, text))

    def _on_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    # httptools
    def on_message_begin(self) -> None:
        self._partial = True
        self._target, self._headers, self._padding_bytes, self._partial_bytes = b"", [], 0, 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if value[-1:] in _SPACES:  # the parser leaves it only at the beginning out (RFC 9110, 5.5)
            self._padding_bytes += len(value)
            value = value.rstrip(b" \t")
            self._padding_bytes -= len(value)
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._partial = False
        if self._late is not None:
            self._on_time()
        if self._resumed is not None:
            self._body, self._resumed = self._resumed, None
            return
        problem = self._oversized()
        if problem is not None:
            raise Stopped(problem)
        parser = self._parser
        method, target = parser.get_method(), self._target
        head = read(self._headers, parser.get_http_version(), keep_alive=parser.should_keep_alive())
        found, self._begin = self._begin, None
        if found is not None and (method, target) == (found.method, found.target):
            self._learn(found, head)
        self._asks(method.decode("ascii"), target.decode("utf-8", "surrogateescape"), head, head.length)

    def _asks(self, method: str, target: str, head: Head, length: int | None) -> HttpBody:
        """The next request. `length`: of its body, which is returned."""
        reply = HttpReply(self, method == "HEAD", head.old, head.keep_alive and not head.old)
        expect = head.noted.get(b"expect")
        self._body = body = HttpBody(self, reply, length, self._limits.body_bytes, expect)
        self._asked = asked = Asked(self, method, target, head, body, reply)
        self._next(asked)
        return body

    def _learn(self, found: Begin, head: Head) -> None:
        headers = self._headers
        # Another one may have a traceparent more.
        if not head.usual or len(headers) >= self._limits.header_count:
            return
        if found.trace is not None:
            traced = (TRACEPARENT, found.trace.traceparent)
            headers = [header for header in headers if header != traced]
            head = read(headers, self._parser.get_http_version(), keep_alive=head.keep_alive)
        if TRACEPARENT not in head.noted and plain(found.key, found.length, headers):
            self._among.heads.keep(found.key, head)

    def on_body(self, piece: bytes) -> None:
        body = self._body
        if body is not None:
            body.feed(piece)
            if body.unread_bytes > HIGH_WATER_BYTES:
                self.flow()

    def on_message_complete(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.end()

    def _oversized(self) -> Problem | None:
        """Of the head, as far as it has come."""
        headers, limits = self._headers, self._limits
        if len(headers) > limits.header_count:
            return Problem(Reason.HeaderTooLarge, f"there are over {limits.header_count} headers")
        around_bytes = len(self._target) + self._padding_bytes + 4 * len(headers)
        over = around_bytes + sum(map(len, chain.from_iterable(headers))) > limits.header_bytes
        return self._too_large() if over else None

    def _too_large(self) -> Problem:
        return Problem(Reason.HeaderTooLarge, f"its headers are over {self._limits.header_bytes} bytes")


_NO_REQUEST = Problem(Reason.MalformedRequest, "this is no valid HTTP/1.1 request")
