"""The server's end: where the pipeline has a pool of connections for HTTP, a pipe has one line for everybody."""

import asyncio
import random
import re
from collections.abc import Callable

from msgspec import Raw
from msgspec.json import encode

from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.stdio.lines import TooLong
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.failure import ConnectionReset, ConnectRefused, UnsendableRequest
from toolpolicy_sidecar.upstream.headers import Header
from toolpolicy_sidecar.upstream.origin import Origin

_JSON: tuple[Header, ...] = ((b"Content-Type", b"application/json"),)
_ID = re.compile(rb'"id"\s*:\s*([0-9]+)')
_FIRST = (2**30, 1_600_000_000)
"""Numbers, as the SDKs have them: there are servers that know no other ids. 31 bits are enough for each of them; agents
that count begin far below, and those that take the time of day for an id are above."""


class ServerPipe:
    """An `Upstream`. Each exchange has an id of its own that is never used again: an answer that comes after its call
    was given up is recognised, and is nobody's."""

    def __init__(self, origin: Origin, writer: asyncio.StreamWriter) -> None:
        self._origin, self._writer = origin, writer
        self._turn = asyncio.Lock()
        self._first = self._last = random.SystemRandom().randrange(*_FIRST)
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._ended: str | None = None

    async def exchange(
        self, request: Request, *, connect_timeout_s: float, connected: Callable[[], None] | None = None
    ) -> Response:
        """A whole answer, always. Cancelled, it takes the call back from the server. Raises ConnectRefused,
        ConnectionReset, Stopped for an answer over the limit."""
        del connect_timeout_s  # there is nothing to connect
        members = jsonrpc.members_of(request.body if isinstance(request.body, bytes) else b"") or {}
        if "id" not in members:
            raise UnsendableRequest("only requests are sent over pipes")
        if connected is not None:
            connected()
        identifier = bytes(members["id"])
        self._last += 1
        sent_as = b"%d" % self._last
        members["id"] = Raw(sent_as)
        answer = self._waiting[sent_as] = asyncio.get_running_loop().create_future()
        sent = False
        try:
            await self.send(encode(members))
            sent = True
            line = await answer
        except asyncio.CancelledError:
            if sent and self._ended is None:
                self._writer.write(jsonrpc.cancelled(sent_as, "it is not waited for any longer") + b"\n")
            raise
        finally:
            del self._waiting[sent_as]
        return Response(200, b"", _JSON, _Answer(jsonrpc.renamed(line, sent_as, identifier)))

    async def send(self, line: bytes) -> None:
        """In order; waits while the server does not read. Raises ConnectRefused: it has ended."""
        async with self._turn:
            try:
                await self._writer.drain()
            except ConnectionError:
                self.end("it closed its input")
            if self._ended is not None or self._writer.is_closing():
                raise ConnectRefused(self._origin, self._ended or "its input is closed")
            self._writer.write(line + b"\n")

    def hear(self, identifier: bytes, line: bytes) -> bool:
        """An answer to the request with this id. True: it was an exchange, answered in time or late; it is nobody
        else's."""
        answer = self._waiting.get(identifier)
        if answer is not None and not answer.done():
            answer.set_result(line)
        return identifier.isdigit() and self._first < int(identifier) <= self._last

    def hear_of(self, line: TooLong) -> bool:
        """True: it seems to be the answer to an exchange, which ends here."""
        match = _ID.search(line.head) or _ID.search(line.tail)
        answer = self._waiting.get(match[1]) if match else None
        if answer is None or answer.done():
            return False
        text = f"it has {line.size_bytes} bytes, which is over the limit"
        answer.set_exception(Stopped(Problem(Reason.AnswerTooLarge, text)))
        return True

    def end(self, how: str) -> None:
        """Nothing will be answered any more; `how` is half a sentence."""
        if self._ended is None:
            self._ended = how
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionReset(self._origin, how, sent=True, response_started=False))

    def close(self) -> None:
        """The server sees the end of its input, once it has read what was sent."""
        self._writer.close()


class _Answer:
    """A body that is there as a whole."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def done(self) -> None:
        """Nothing is held."""

    def abort(self) -> None:
        """The same."""
