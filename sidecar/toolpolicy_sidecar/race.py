"""Two attempts side by side, of which the first good one counts (hedging). What is decided, `resilience/hedge.py`
decides; here somebody waits."""

import asyncio
from collections.abc import Callable

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.resilience.hedge import Hedge
from toolpolicy_sidecar.upstream.exchange import Request, Response, Upstream


class Race:
    """Stands in for the pool in one attempt. An answer has begun with the first piece of its body: event streams
    have a head long before they say anything.

    `second`: asked when the first attempt is late, gives the request of another one, or None. `won`: said when that
    one is the one whose answer counts; else it is the first's, also when both fail."""

    def __init__(
        self,
        pool: Upstream,
        clock: Clock,
        hedge: Hedge,
        *,
        due: float | None,
        second: Callable[[], Request | None],
        won: Callable[[], None],
    ) -> None:
        self._pool, self._clock, self._hedge = pool, clock, hedge
        self._due, self._second, self._won = due, second, won

    async def exchange(
        self, request: Request, *, connect_timeout_s: float, connected: Callable[[], None] | None = None
    ) -> Response:
        """As the pool's. Whichever way it ends, the other attempt is over."""

        def begin(sent: Request) -> asyncio.Task[Response]:
            return asyncio.ensure_future(self._begun(sent, connect_timeout_s, connected))

        began = self._clock.monotonic()
        if self._due is None:
            return self._learned(began, await self._begun(request, connect_timeout_s, connected))
        runners = [begin(request)]
        winner: asyncio.Task[Response] | None = None
        try:
            await asyncio.wait(runners, timeout=max(0.0, self._due - began))
            if not runners[0].done() and (other := self._second()) is not None:
                runners.append(begin(other))
            winner = await _first_good(runners)
            if winner is not runners[0]:
                self._won()
            return self._learned(began, winner.result())
        finally:
            for runner in runners:
                if runner is not winner:
                    runner.cancel()
                    runner.add_done_callback(_close)

    def _learned(self, began: float, response: Response) -> Response:
        """How long a first attempt takes, or took at least."""
        if _good(response):
            self._hedge.observe(self._clock.monotonic() - began)
        return response

    async def _begun(
        self, request: Request, connect_timeout_s: float, connected: Callable[[], None] | None
    ) -> Response:
        response = await self._pool.exchange(
            request, connect_timeout_s=connect_timeout_s, connected=connected
        )
        if not _good(response):
            return response
        try:
            piece = await response.read()
        except BaseException:
            response.abort()
            raise
        return Response(
            response.status,
            response.reason,
            response.headers,
            _Begun(response, piece),
            length=response.length,
        )


class _Begun:
    """The source of a response of which the first piece was read."""

    def __init__(self, response: Response, piece: bytes) -> None:
        self._response = response
        self._first: bytes | None = piece

    async def read(self) -> bytes:
        piece, self._first = self._first, None
        return await self._response.read() if piece is None else piece

    def done(self) -> None:
        self._response.release()

    def abort(self) -> None:
        self._response.abort()


def _good(response: Response) -> bool:
    return response.status < 500 and response.status != 429


async def _first_good(runners: list[asyncio.Task[Response]]) -> asyncio.Task[Response]:
    """Who fails waits for the other. None good: the first."""
    running = set(runners)
    while running:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for runner in runners:
            if runner in done and runner.exception() is None and _good(runner.result()):
                return runner
    return runners[0]


def _close(runner: asyncio.Task[Response]) -> None:
    """One that was cancelled has closed its connection itself."""
    if not runner.cancelled() and runner.exception() is None:
        runner.result().abort()
