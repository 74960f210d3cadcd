"""Connections to every origin: kept while they are fresh, bounded in number, first come first served."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from toolpolicy_sidecar.upstream.connection import Connection
from toolpolicy_sidecar.upstream.dial import Check, dial
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.failure import ConnectTimedOut
from toolpolicy_sidecar.upstream.origin import Origin
from toolpolicy_sidecar.upstream.tls import Contexts


class PoolLimits(NamedTuple):
    connections_per_origin: int = 256
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
    ) -> None:
        """`check`: asked of every address before it is dialled."""
        self._limits = limits or PoolLimits()
        self.tls, self._check = tls or Contexts(), check
        self._lanes: dict[Origin, _Lane] = {}
        self._connections: set[Connection] = set()
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
        connection = await self._connection(request.origin, connect_timeout_s)
        if connected is not None:
            connected()
        return await connection.exchange(request)

    async def close(self) -> None:
        self._closed = True
        for connection in list(self._connections):
            connection.abort()

    async def _connection(self, origin: Origin, timeout_s: float) -> Connection:
        lane = self._lanes.setdefault(origin, _Lane())
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    fresh = self._reusable(lane)
                    if fresh:
                        return fresh
                    if lane.open < self._limits.connections_per_origin:
                        return await self._dial(origin, lane)
                    await self._turn(lane)
        except TimeoutError:
            raise ConnectTimedOut(origin, f"not connected within {timeout_s * 1000:.0f} ms") from None

    def _reusable(self, lane: _Lane) -> Connection | None:
        oldest = time.monotonic() - self._limits.idle_s
        while lane.idle:
            connection = lane.idle.pop()
            if connection.usable and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def _dial(self, origin: Origin, lane: _Lane) -> Connection:
        lane.open += 1
        try:
            _, connection = await dial(
                origin,
                lambda: Connection(origin, self._put_back, self._drop),
                tls=self.tls.context(origin) if origin.scheme == "https" else None,
                check=self._check,
            )
        except BaseException:
            lane.open -= 1
            self._next(lane)
            raise
        self._connections.add(connection)
        return connection

    async def _turn(self, lane: _Lane) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
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
        self._next(lane)

    def _drop(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        lane = self._lanes[connection.origin]
        lane.open -= 1
        if connection in lane.idle:
            lane.idle.remove(connection)
        self._next(lane)
