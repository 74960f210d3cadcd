"""What holds of the agents' side, whatever an agent writes: a whole data path, but for sockets, servers and time."""

import asyncio
import re
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import NamedTuple
from urllib.parse import unquote

import h11
import uvloop

from tests.corpus.smuggling import CASES
from toolpolicy_api import snapshot
from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.http_connections import Connections
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.listeners.reverse import ReverseListener
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest
from toolpolicy_sidecar.upstream.exchange import Request, Response

PROBE = b"GET /api/probe HTTP/1.1\r\nHost: x\r\n\r\n"
_UPGRADE = b"Connection: Upgrade\r\nUpgrade: %b\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
_TRACEPARENT = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
_LATER = tuple(
    b"POST /api/x HTTP/1.1\r\nHost: x\r\n" + more + PROBE
    for more in (
        _UPGRADE % b"h2c" + b"\r\n",
        _UPGRADE % b"h2c" + b"Content-Length: 3\r\n\r\nabc",
        _UPGRADE % b"h2c" + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        _UPGRADE % b"websocket" + b"\r\n",
        b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        _TRACEPARENT + b"Content-Length: 3\r\n\r\nabc",
    )
)
_SHORT = tuple(case.raw for case in CASES if len(case.raw) < 1000)
SEEDS = tuple(b"\x02" + raw.replace(b"{at}", b"/api").replace(b"{host}", b"x") for raw in (*_SHORT, *_LATER))
_TURNS = 400
"""Of the event loop, for all answers to come."""

Sent = tuple[str, str, bytes]
"""Method, target and body of what reached the server."""


class Outcome(NamedTuple):
    reached: tuple[Sent, ...]
    closed: bool


def requests(data: bytes) -> None:
    """Each request has one answer that others can read, in its order, or the connection is closed; a server gets whole
    requests only, and none that a strict server would not have read there; neither how the bytes are cut changes any of
    it, nor the heads that came before."""
    size, raw = 1 + sum(data[:1]) % 23, data[1:]
    whole = _LOOP.run_until_complete(_heard([raw]))
    cut = _LOOP.run_until_complete(_heard(raw[at : at + size] for at in range(0, len(raw), size)))
    assert cut == whole
    for _ in range(2):  # its heads are kept now, then known
        assert _LOOP.run_until_complete(_heard([raw])) == whole
    strict = iter(_strictly(raw))
    for method, target, body in whole.reached:
        sent = (method, unquote(target, "latin-1"), body)
        assert sent in strict, (sent, _strictly(raw))  # in this order


class _Server:
    """In the place of the pool: answers every request that comes to its end."""

    def __init__(self) -> None:
        self.reached: list[Sent] = []

    async def exchange(self, request: Request, **_: object) -> Response:
        body = request.body or b""
        if not isinstance(body, bytes):
            body = b"".join([piece async for piece in body])
        self.reached.append((request.method, request.target, body))
        return Response(200, b"OK", (), _Body(), length=2)


class _Body:
    def __init__(self) -> None:
        self._left = [b"", b"ok"]

    async def read(self) -> bytes:
        return self._left.pop() if self._left else b""

    def done(self) -> None:
        """Nothing to give back."""

    abort = done


class _Nobody:
    """Keeps nothing, but knows what must not be."""

    def call(self, record: CallRecord) -> None:
        assert record.reason is not Reason.InternalError

    def refused(self, record: RefusedRequest) -> None:
        assert record.reason is not Reason.InternalError

    def redacted(self, record: RedactedMessage) -> None:
        """Nothing is."""

    def egress(self, record: EgressRecord) -> None:
        """Nothing passes."""

    def transition(self, transition: Transition) -> None:
        """There are no circuits."""


class _Listener(ReverseListener):
    """Knows what it has answered. One for all inputs: to make one takes longer than to read an input."""

    def __init__(self) -> None:
        self.server = server = _Server()
        nobody, limits, clock = _Nobody(), Limits(), SystemClock()
        current = Current(recorder=nobody, clock=clock)
        current.install(_SNAPSHOT, "fuzz")
        super().__init__(current, Pipeline(server, limits, clock, nobody), limits, clock, nobody)
        self.connections = Connections(self, limits, clock)
        self.answered: list[str] = []

    async def handle(self, asked: Asked) -> None:
        await super().handle(asked)  # for as long as its body has not come
        assert asked.reply.finished
        self.answered.append(asked.method)

    def unheard(self, problem: Problem) -> bytes:
        self.answered.append("GET")
        return super().unheard(problem)


class _Wire(asyncio.Transport):
    """As a socket's: who is closed hears of it a moment later."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.closed = self.aborted = self.paused = False
        self.protocol: asyncio.Protocol | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Everything is taken at once."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.data += data

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed and self.protocol is not None:
            _LOOP.call_soon(self.protocol.connection_lost, None)
        self.closed = True

    def abort(self) -> None:
        self.aborted = True
        self.close()


@cache
def _listener() -> _Listener:
    return _Listener()


async def _heard(pieces: Iterable[bytes]) -> Outcome:
    listener, wire = _listener(), _Wire()
    server = listener.server
    server.reached, listener.answered = [], []
    connection = wire.protocol = listener.connections()
    connection.connection_made(wire)
    for piece in pieces:
        if wire.closed:
            break
        connection.data_received(piece)
        for _ in range(3):
            await asyncio.sleep(0)
    await _settled(server, wire)
    _are_answers(bytes(wire.data), listener.answered, cut=wire.aborted)
    reached, closed = tuple(server.reached), wire.closed
    idle = connection._turn is not None and not connection._partial and connection._body is None
    if not closed and idle:
        connection.data_received(PROBE)
        await _settled(server, wire)
        assert server.reached[len(reached) :] == [("GET", "/base/probe", b"")], (
            "it is open and does not answer"
        )
    connection.connection_lost(None)
    task = connection._task
    assert task is not None
    ended = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError | None), ended
    assert (
        listener._current.in_flight.requests
        == listener._current.in_flight.pushing
        == listener.websockets
        == 0
    )
    return Outcome(reached, closed)


async def _settled(server: _Server, wire: _Wire) -> None:
    """Until nothing has come for some turns of the loop."""
    quiet, before = 0, None
    for _ in range(_TURNS):
        await asyncio.sleep(0)
        now = (len(server.reached), len(wire.data), wire.closed)
        quiet, before = (quiet + 1, now) if now == before else (0, now)
        if quiet == 12:
            return


def _are_answers(data: bytes, methods: list[str], *, cut: bool) -> None:
    """To requests of these methods, in this order, as a strict client reads them. `cut`: the last one may be half."""
    for method in methods:
        if not data:
            assert cut, f"no answer to {method}"
            return
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(data)
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                assert cut, (method, data)
                return
        data = reader.trailing_data[0]
    assert data in {b"", _GO_ON}, data


def _strictly(raw: bytes) -> list[Sent]:
    """The requests that a server of other hands reads. It may not know what llhttp forgives: empty lines before a
    request, and more than one space between the words of its first line."""
    read: list[Sent] = []
    with suppress(h11.RemoteProtocolError):
        while raw:
            reader = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
            reader.receive_data(_SPACES.sub(rb"\1 \2 ", raw.lstrip(b"\r\n"), count=1))
            request, body = reader.next_event(), b""
            if not isinstance(request, h11.Request):
                break
            while isinstance(event := reader.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                break
            target = re.sub(r"^/api", "/base", request.target.decode())
            read.append((request.method.decode(), unquote(target, "latin-1"), body))
            raw = reader.trailing_data[0]
    return read


_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
_SPACES = re.compile(rb"^([A-Z-]+) +([!-~]+) +")
_UNLISTED = snapshot.Rules(timeouts=snapshot.Timeouts(60_000, 60_000, 60_000))
_API = snapshot.Server("api", "HTTP", "http://127.0.0.1:1/base", _UNLISTED, upgrade="Tunnel")
_POLICY = snapshot.Policy("ns", "p", "u", 1, "2026-01-01T00:00:00Z", snapshot.Selector(), (_API,))
_SNAPSHOT = snapshot.encode(snapshot.Snapshot((_POLICY,)))
_LOOP = uvloop.new_event_loop()

TOKENS = (
    b"GET /api/x HTTP/1.1\r\nHost: x\r\n",
    b"POST /api/x HTTP/1.1\r\nHost: x\r\n",
    b"HEAD /api/x HTTP/1.1\r\nHost: x\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n",
    b"GET /api/x HTTP/1.0\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    _UPGRADE % b"websocket",
    _UPGRADE % b"h2c",
    b"Expect: 100-continue\r\n",
    _TRACEPARENT,
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"abc",
    b": ",
    b"\0",
    b"%2e%2e",
    PROBE,
)
