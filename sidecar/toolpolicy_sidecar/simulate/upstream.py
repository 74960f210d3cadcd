"""Stands where a pod's connection pool stands, with the pool's bounds, and lets attempts end as scripts say."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.simulate.script import Fate, Script
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.failure import ConnectionReset, ConnectRefused, ConnectTimedOut
from toolpolicy_sidecar.upstream.headers import Header
from toolpolicy_sidecar.upstream.origin import Origin
from toolpolicy_sidecar.upstream.pool import PoolLimits


class Place(NamedTuple):
    """Where a request arrives. `tool` is None for plain HTTP, and the name in the message for MCP."""

    origin: Origin
    method: str
    target: str
    tool: str | None


class _Params(msgspec.Struct):
    name: str


class _Asked(msgspec.Struct):
    """A `tools/call`."""

    id: msgspec.Raw
    params: _Params


class ScriptedUpstream:
    """Every attempt takes a new connection. What no script is for, is answered at once."""

    def __init__(
        self,
        scripts: Mapping[Place, Script],
        speaking_mcp: Iterable[Origin],
        clock: Clock,
        seen: Callable[[str, float], None],
    ) -> None:
        """`seen` hears of each attempt that gets a connection: of what tool it is, and when."""
        self._scripts, self._mcp = scripts, frozenset(speaking_mcp)
        self._clock, self._seen = clock, seen
        self._lanes: dict[Origin, asyncio.Semaphore] = {}

    async def exchange(
        self, request: Request, *, connect_timeout_s: float, connected: Callable[[], None] | None = None
    ) -> Response:
        """As `Pool.exchange`."""
        place, identifier = self._asked(request)
        lane = self._lanes.get(request.origin)
        if lane is None:
            lane = self._lanes[request.origin] = asyncio.Semaphore(PoolLimits().connections_per_origin)
        fate = await self._connected(place, lane, connect_timeout_s)
        if connected is not None:
            connected()
        try:
            await _wait(fate.after_s)
        except BaseException:
            lane.release()
            raise
        if fate.kind == "Reset":
            lane.release()
            raise ConnectionReset(request.origin, "connection reset", sent=True, response_started=False)
        return _response(fate, identifier, lane)

    def _asked(self, request: Request) -> tuple[Place, bytes | None]:
        """Where it goes, and the id of a JSON-RPC message."""
        place = Place(request.origin, request.method, request.target, None)
        if place not in self._scripts and request.origin in self._mcp and isinstance(request.body, bytes):
            asked = msgspec.json.decode(request.body, type=_Asked)
            return place._replace(tool=asked.params.name), bytes(asked.id)
        return place, None

    async def _connected(self, place: Place, lane: asyncio.Semaphore, timeout_s: float) -> Fate:
        """Holds the lane, unless it raises."""
        origin = place.origin
        ends = self._clock.monotonic() + timeout_s
        if lane.locked():
            await _within(ends, origin, timeout_s, lane.acquire())
        else:
            await lane.acquire()
        script = self._scripts.get(place)
        if script is None:
            return Fate("Answer")
        now = self._clock.monotonic()
        self._seen(script.tool, now)
        fate = script.fate(now)
        if fate.kind not in {"Refused", "Unreachable"}:
            return fate
        try:
            if fate.kind == "Unreachable":
                await _within(ends, origin, timeout_s, _wait(math.inf))
        finally:
            lane.release()
        raise ConnectRefused(origin, "connection refused")


class _Body:
    """A body that is there at once; its end frees the connection."""

    def __init__(self, body: bytes, lane: asyncio.Semaphore) -> None:
        self._body, self._lane = body, lane
        self._held = True

    async def read(self) -> bytes:
        piece, self._body = self._body, b""
        return piece

    def done(self) -> None:
        if self._held:
            self._held = False
            self._lane.release()

    def abort(self) -> None:
        self.done()


async def _within(ends: float, origin: Origin, timeout_s: float, connected: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout_at(ends):
            await connected
    except TimeoutError:
        raise ConnectTimedOut(origin, f"not connected within {timeout_s * 1000:.0f} ms") from None


async def _wait(seconds: float) -> None:
    if seconds < math.inf:
        await asyncio.sleep(seconds)
    else:
        await asyncio.get_running_loop().create_future()


def _response(fate: Fate, identifier: bytes | None, lane: asyncio.Semaphore) -> Response:
    if fate.status != 200:
        body = b"{}"
    elif identifier is None:
        body = b'{"ok":true}'
    else:
        body = b'{"jsonrpc":"2.0","id":%b,"result":{"content":[{"type":"text","text":"ok"}]}}' % identifier
    headers: tuple[Header, ...] = ((b"Content-Type", b"application/json"),)
    if fate.retry_after_s is not None:
        headers = (*headers, (b"Retry-After", b"%d" % fate.retry_after_s))
    return Response(fate.status, b"", headers, _Body(body, lane), length=len(body))
