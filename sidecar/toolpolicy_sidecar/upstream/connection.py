"""One connection: bytes of a request out, parsed pieces of a response in, with back-pressure both ways."""

import asyncio
import select
from collections import deque
from collections.abc import AsyncIterator, Callable
from itertools import chain
from typing import cast

import httptools

from toolpolicy_sidecar.backpressure import BackPressure
from toolpolicy_sidecar.heads import END, HEAD_BYTES, Heads, Key, plain, split
from toolpolicy_sidecar.in_flight import InFlight
from toolpolicy_sidecar.outgoing import Outgoing
from toolpolicy_sidecar.upstream.answer_head import AnswerHead, understood
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.failure import (
    AnswerHeaderTooLarge,
    ConnectionReset,
    MalformedAnswer,
    UpstreamFailure,
)
from toolpolicy_sidecar.upstream.headers import Header
from toolpolicy_sidecar.upstream.origin import Origin
from toolpolicy_sidecar.upstream.request_head import request_head

HIGH_WATER_BYTES = 64 * 1024
"""Beyond this much unread body the server is not read from until the reader catches up."""
HEADER_BYTES = 64 * 1024
HEADER_COUNT = 256
INTERIM_RESPONSES = 16
_LENGTH = b"content-length"


class Connection(BackPressure):
    """`on_idle` is called when another exchange may follow the one that is over, `on_lost` when the socket is gone."""

    def __init__(
        self,
        origin: Origin,
        on_idle: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
        heads: Heads[AnswerHead] | None = None,
        in_flight: InFlight | None = None,
    ) -> None:
        """`heads`: that are shared with other connections. `in_flight`: of all that are served by this loop."""
        super().__init__()
        self.origin = origin
        self.idle_since = 0.0
        self._on_idle, self._on_lost = on_idle, on_lost
        self._transport: asyncio.Transport | None = None
        self._out: Outgoing | None = None
        self._poll: select.poll | None = None
        self._lost = False
        self._heads = Heads() if heads is None else heads
        self._in_flight = in_flight or InFlight()
        self._authority = origin.authority.encode("ascii")
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        """The parser goes on: only an exchange that ended cleanly is followed by another one."""
        self._head: asyncio.Future[Response] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._headers: list[Header] = []
        self._quiet_bytes = 0
        self._reason = b""
        self._again: tuple[Key, int] | None = None
        """A head that has come before, and was not kept yet, and the length in it."""
        self._known = False
        self._left_bytes = 0
        """Of a body that the parser is not told of."""
        self._interim = 0
        self._complete = False
        self._keep_alive = False
        self._failure: UpstreamFailure | None = None
        self._method = ""
        self._sending: asyncio.Task[None] | None = None
        self._switch_to: asyncio.Protocol | None = None
        self.busy = False

    @property
    def usable(self) -> bool:
        return not self._lost and self._transport is not None and not self._transport.is_closing()

    @property
    def silent(self) -> bool:
        """Of an idle connection: the server has neither hung up nor said anything, as far as the kernel knows. Once
        something was sent to a server that has hung up, nobody could say whether it acted on it."""
        if self._poll is None:
            self._poll = select.poll()
            transport = cast("asyncio.Transport", self._transport)
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    # one exchange
    def begin(self, request: Request) -> asyncio.Future[Response]:
        """Sends it. What comes is the response's head, or an UpstreamFailure; its body is pulled. Whoever does not wait
        for it any more aborts. Raises UnsendableRequest: nothing was sent."""
        head = request_head(request, self._authority)
        out = self._out
        if out is None or self._lost:
            raise ConnectionReset(self.origin, "closed before use", sent=False, response_started=False)
        self.busy = True
        self._method, self._switch_to = request.method, request.switch_to
        self._head = self._loop.create_future()
        body = request.body
        if isinstance(body, bytes):
            out.message(head, body)
        else:
            out.write(head)
            if body is not None:
                self._sending = self._loop.create_task(
                    self._send(out, body, in_chunks=request.length is None)
                )
        return self._head

    async def _send(self, out: Outgoing, body: AsyncIterator[bytes], *, in_chunks: bool) -> None:
        """A reader of the request's body that fails ends the exchange: half a body is no body."""
        try:
            async for piece in body:
                if not piece:
                    continue
                out.write(b"%x\r\n%b\r\n" % (len(piece), piece) if in_chunks else piece)
                if self.writing_paused:
                    await self.drained()
            if in_chunks:
                out.write(b"0\r\n\r\n")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever the body's source raises ends this exchange
            self._fail(
                ConnectionReset(self.origin, f"request body: {error}", sent=True, response_started=False)
            )

    async def read(self) -> bytes:
        """The next piece of the body; b"" at its end."""
        while not self._pieces:
            if self._failure:
                raise self._failure
            if self._complete:
                return b""
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except BaseException:
                self.abort()
                raise
            finally:
                self._waiter = None
        piece = self._pieces.popleft()
        self._buffered -= len(piece)
        if self._paused and self._buffered < HIGH_WATER_BYTES // 2:
            self._paused = False
            if self._transport and not self._lost:
                self._transport.resume_reading()
        return piece

    def _at_once(self) -> bytes | None:
        """Nothing is left to be read then: no reader has to wait for the end, either."""
        if not self._complete or self._failure is not None or self._paused or len(self._pieces) != 1:
            return None
        self._buffered = 0
        return self._pieces.popleft()

    def done(self) -> None:
        """Back to the pool, if the exchange has ended cleanly on both sides."""
        if not self.busy:
            return
        sent = self._sending is None or self._sending.done()
        if (
            self._complete
            and self._keep_alive
            and sent
            and not self._failure
            and not self._pieces
            and self.usable
        ):
            self._begin()
            self._on_idle(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Whoever still reads is told."""
        if self.busy and not self._complete:
            started = self._head is not None and self._head.done()
            self._fail(
                ConnectionReset(self.origin, "closed by the sidecar", sent=True, response_started=started)
            )
        self.busy = False
        if self._sending:
            self._sending.cancel()
        if self._transport and not self._lost:
            self._transport.abort()

    # asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._out = Outgoing(self._transport, self._loop, self._in_flight)

    def data_received(self, data: bytes) -> None:
        if self._complete:
            self._keep_alive = False
        if not self.busy:  # nothing was asked: whatever this is, the next exchange must not see it
            self.abort()
            return
        if self._known:
            self._goes_on(data)
            return
        if not self._quiet_bytes and self._begins(data):
            return
        self._quiet_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._complete or self._switch_to is None:
                self._fail(MalformedAnswer(self.origin, "the server switched protocols unasked", sent=True))
                return
            self._leave_to(self._switch_to, data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._fail(
                cause
                if isinstance(cause, UpstreamFailure)
                else MalformedAnswer(self.origin, str(error), sent=True)
            )
        except httptools.HttpParserError as error:
            self._fail(MalformedAnswer(self.origin, str(error), sent=True))
        if (
            self._quiet_bytes > HEADER_BYTES and not self._complete
        ):  # a line that does not end: the parser keeps it
            self._fail(
                AnswerHeaderTooLarge(self.origin, f"no end of line in {HEADER_BYTES} bytes", sent=True)
            )

    def _begins(self, data: bytes) -> bool:
        """An answer whose head was read before needs no parser. False: this one does."""
        head = self._head
        if head is None or head.done() or self._switch_to is not None or self._method == "HEAD":
            return False
        end = data.find(END, 0, HEAD_BYTES)
        if end < 0:
            return False
        body_at = end + len(END)
        key, length = split(data[:body_at])
        if length is None:
            return False
        known = self._heads.get(key)
        if known is None:
            if self._heads.comes_again(key):
                self._again = key, length
            return False
        self._known = self._keep_alive = True
        response = Response(
            known.status,
            known.reason,
            known.headers,
            self,
            self._at_once,
            length=length,
            values=known.values,
        )
        head.set_result(response)
        body = data[body_at:]
        if len(body) == length <= HIGH_WATER_BYTES:  # nobody waits for more of it yet
            if body:
                self._pieces.append(body)
                self._buffered = length
            self._complete = True
        else:
            self._left_bytes = length
            self._goes_on(body)
        return True

    def _goes_on(self, piece: bytes) -> None:
        """With the body of such an answer."""
        left_bytes = self._left_bytes
        if len(piece) > left_bytes:  # the next exchange must not take it for its answer
            self._keep_alive = False
            piece = piece[:left_bytes]
        self._left_bytes = left_bytes - len(piece)
        if piece:
            self.on_body(piece)
        if not self._left_bytes and not self._complete:
            self._finish()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self.resume_writing()
        if self.busy and not self._complete:
            started = self._head is not None and self._head.done()
            if started and not exc and not self._framed():
                self._keep_alive = False
                self._finish()
            else:
                detail = str(exc) if exc else "closed by the server"
                self._fail(ConnectionReset(self.origin, detail, sent=True, response_started=started))
        self._on_lost(self)

    # httptools
    def on_message_begin(self) -> None:
        if self._complete:  # more than was asked for: the next exchange must not take it for its answer
            self._keep_alive = False

    def on_status(self, status: bytes) -> None:
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the head; or a trailer, which nobody looks at."""
        if 0 in value:  # NUL
            raise MalformedAnswer(self.origin, "NUL in a header", sent=True)
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status, headers = self._parser.get_status_code(), self._headers
        again, self._again = self._again, None
        # What came at once is no measure of the header section: it may have a body in it.
        if len(headers) > HEADER_COUNT or (
            self._quiet_bytes > HEADER_BYTES and sum(map(len, chain.from_iterable(headers))) > HEADER_BYTES
        ):
            text = f"its header section is over {HEADER_BYTES} bytes or {HEADER_COUNT} fields"
            raise AnswerHeaderTooLarge(self.origin, text, sent=True)
        if status == 101 and self._switch_to is not None:
            self._switched()
            return
        if status < 200:
            self._interim += 1
            headers.clear()
            self._reason = b""
            if status == 101 or self._interim > INTERIM_RESPONSES:
                raise MalformedAnswer(
                    self.origin, f"{self._interim} interim responses, last {status}", sent=True
                )
            return
        if self._head is None or self._head.done():
            raise MalformedAnswer(self.origin, "a second response to one request", sent=True)
        self._keep_alive = self._parser.should_keep_alive()
        passed_on, values, length = understood(tuple(headers))
        response = Response(
            status, self._reason, passed_on, self, self._at_once, length=length, values=values
        )
        self._head.set_result(response)
        if again is not None and again[1] == length and self._keep_alive and status not in {204, 304}:
            first = b"HTTP/1.1 %d %b" % (status, self._reason)
            if plain(*again, headers, first):
                self._heads.keep(again[0], AnswerHead(status, self._reason, passed_on, values))
        if self._method == "HEAD":  # the parser cannot know that no body follows
            self._keep_alive = False
            self._finish()

    def _switched(self) -> None:
        """To what was asked for, and to nothing else. Raises MalformedAnswer."""
        to = [value.lower() for name, value in self._headers if name.lower() == b"upgrade"]
        wanted = to == [b"websocket"] and self._parser.should_upgrade() and not self._framed()
        if self._head is None or self._head.done() or not wanted:
            raise MalformedAnswer(self.origin, "it switched, but not to a WebSocket", sent=True)
        self._complete = True
        passed_on, values, _ = understood(tuple(self._headers))
        self._head.set_result(Response(101, self._reason, passed_on, self, values=values))

    def _leave_to(self, other: asyncio.Protocol, early: bytes) -> None:
        """The socket is no connection of the pool any more; until its new owner is used, `abort` still closes it.
        `early`: what the server has said since its 101."""
        transport = cast("asyncio.Transport", self._transport)
        self.busy = False
        transport.set_protocol(other)
        other.connection_made(transport)
        if early:
            other.data_received(early)
        self._on_lost(self)

    def on_body(self, body: bytes) -> None:
        if self._complete:
            return
        self._quiet_bytes = 0
        self._pieces.append(body)
        self._buffered += len(body)
        if self._buffered > HIGH_WATER_BYTES and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()
        if self._waiter is not None:
            self._wake()

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._finish()

    def _framed(self) -> bool:
        names = {name.lower() for name, _ in self._headers}
        return self._known or _LENGTH in names or b"transfer-encoding" in names

    def _finish(self) -> None:
        self._complete = True
        if self._waiter is not None:
            self._wake()

    def _fail(self, failure: UpstreamFailure) -> None:
        self._keep_alive = False
        if self._complete:
            return
        self._failure = self._failure or failure
        if self._head is not None and not self._head.done():
            self._head.set_exception(self._failure)
        self._wake()
        if self._transport and not self._lost:
            self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
