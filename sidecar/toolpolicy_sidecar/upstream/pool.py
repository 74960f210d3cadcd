"""Connections to every origin: kept while they are fresh, bounded in number, first come first served."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from toolpolicy_sidecar.heads import Heads
from toolpolicy_sidecar.in_flight import InFlight
from toolpolicy_sidecar.upstream.answer_head import AnswerHead
from toolpolicy_sidecar.upstream.connection import Connection
from toolpolicy_sidecar.upstream.dial import Check, dial
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.failure import ConnectionReset, ConnectTimedOut
from toolpolicy_sidecar.upstream.names import Names, SystemNames
from toolpolicy_sidecar.upstream.origin import Origin
from toolpolicy_sidecar.upstream.tls import Contexts


class PoolLimits(NamedTuple):
    connections_per_origin: int = 2048
    """In use and idle. An event stream holds one for as long as it is open."""
    idle_per_origin: int = 64
    idle_s: float = 4.0
    """Below the 5 s after which uvicorn, the commonest tool server, closes: else we race with it."""


class _Lane:
    """One origin: idle connections (the last used first), how many there are, and who waits."""

    def __init__(self) -> None:
        self.idle: list[Connection] = []
        self.open = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class Pool:
    def __init__(
        self,
        limits: PoolLimits | None = None,
        *,
        tls: Contexts | None = None,
        check: Check | None = None,
        names: Names | None = None,
        in_flight: InFlight | None = None,
    ) -> None:
        """`check`: asked of every address before it is dialled. `names`: the system's by default. `in_flight`: what
        the pool's users are answering."""
        self._limits = limits or PoolLimits()
        self.tls, self._check = tls or Contexts(), check
        self._names = names or SystemNames()
        self._in_flight = in_flight or InFlight()
        self._heads: Heads[AnswerHead] = Heads()
        self._lanes: dict[Origin, _Lane] = {}
        self._connections: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def open(self) -> int:
        return len(self._connections)

    @property
    def idle(self) -> int:
        return sum(len(lane.idle) for lane in self._lanes.values())

    async def exchange(
        self, request: Request, *, connect_timeout_s: float, connected: Callable[[], None] | None = None
    ) -> Response:
        """The response's head. Raises UpstreamFailure, UnsendableRequest. Cancelling closes its connection."""
        lane = self._lanes.get(request.origin)
        connection = self._reusable(lane) if lane else None
        if connection is None:
            connection = await self._connection(request.origin, connect_timeout_s)
        if connected is not None:
            connected()
        try:
            return await connection.begin(request)
        except BaseException:
            connection.abort()
            raise

    async def close(self) -> None:
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._connections):
            connection.abort()
        self._names.close()

    async def _connection(self, origin: Origin, timeout_s: float) -> Connection:
        full = False
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    lane = self._lanes.setdefault(origin, _Lane())  # it may have been let go meanwhile
                    fresh = self._reusable(lane)
                    if fresh:
                        return fresh
                    if lane.open < self._limits.connections_per_origin:
                        full = False
                        return await self._dial(origin, lane)
                    again, full = full, True
                    await self._turn(lane, first=again)
        except TimeoutError:
            what = (
                f"all {self._limits.connections_per_origin} connections to it stayed in use for"
                if full
                else ("not connected within")
            )
            raise ConnectTimedOut(origin, f"{what} {timeout_s * 1000:.0f} ms") from None

    def _reusable(self, lane: _Lane) -> Connection | None:
        oldest = time.monotonic() - self._limits.idle_s
        while lane.idle:
            connection = lane.idle.pop()
            if connection.idle_since > oldest and connection.usable and connection.silent:
                return connection
            connection.abort()
        return None

    async def _dial(self, origin: Origin, lane: _Lane) -> Connection:
        lane.open += 1
        try:
            _, connection = await dial(
                origin,
                lambda: Connection(origin, self._put_back, self._drop, self._heads, self._in_flight),
                self._names,
                tls=self.tls.context(origin) if origin.scheme == "https" else None,
                check=self._check,
            )
        except BaseException:
            self._freed(origin, lane)
            raise
        if not connection.usable:  # the server has hung up already, and `_drop` was not for us
            self._freed(origin, lane)
            raise ConnectionReset(origin, "closed before use", sent=False, response_started=False)
        self._connections.add(connection)
        return connection

    async def _turn(self, lane: _Lane, *, first: bool) -> None:
        """`first`: before all others, since it was its turn and somebody new was faster."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if first:
            lane.waiting.appendleft(waiting)
        else:
            lane.waiting.append(waiting)
        try:
            await waiting
        except BaseException:
            if waiting.done() and not waiting.cancelled():
                self._next(lane)  # our turn came as we left: pass it on
            else:
                lane.waiting.remove(waiting)
            raise

    def _next(self, lane: _Lane) -> None:
        while lane.waiting:
            waiting = lane.waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    def _put_back(self, connection: Connection) -> None:
        lane = self._lanes[connection.origin]
        if self._closed or len(lane.idle) >= self._limits.idle_per_origin:
            connection.abort()
            return
        connection.idle_since = time.monotonic()
        lane.idle.append(connection)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(self._limits.idle_s, self._sweep)
        self._next(lane)

    def _sweep(self) -> None:
        """Closes what nobody has used for too long, and comes again when the next one is due."""
        self._sweeping = None
        now = time.monotonic()
        soonest = None
        for lane in list(self._lanes.values()):
            while lane.idle and lane.idle[0].idle_since <= now - self._limits.idle_s:
                lane.idle.pop(0).abort()
            if lane.idle and (soonest is None or lane.idle[0].idle_since < soonest):
                soonest = lane.idle[0].idle_since
        if soonest is not None:
            due_s = soonest + self._limits.idle_s - now
            self._sweeping = asyncio.get_running_loop().call_later(due_s, self._sweep)

    def _drop(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        lane = self._lanes[connection.origin]
        if connection in lane.idle:
            lane.idle.remove(connection)
        self._freed(connection.origin, lane)

    def _freed(self, origin: Origin, lane: _Lane) -> None:
        """One connection less. An origin that nobody uses is forgotten: a forward proxy meets many."""
        lane.open -= 1
        self._next(lane)
        if not lane.open and not lane.waiting:
            del self._lanes[origin]
