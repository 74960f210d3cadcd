"""Probes and metrics of the operator: alive while its loop turns and its watches work."""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

BEAT_EVERY_S = 2.0
STALE_S = 30.0


class Health:
    """A probe of the kubelet is answered by the same event loop: one that hangs cannot answer, and one that
    had not turned for 30 s says so once. `sick` gives a reason to be restarted, or nothing."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._beaten = time.monotonic()
        self._runner: web.AppRunner | None = None
        self._beating: asyncio.Task[None] | None = None
        self.sick: Callable[[], str] = lambda: ""

    async def start(self, port: int) -> None:
        self._beating = asyncio.ensure_future(self._beat())
        app = web.Application()
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._alive)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", port).start()

    async def close(self) -> None:
        if self._beating:
            self._beating.cancel()
        if self._runner:
            await self._runner.cleanup()

    async def _beat(self) -> None:
        while True:
            self._beaten = time.monotonic()
            await asyncio.sleep(BEAT_EVERY_S)

    async def _alive(self, _: web.Request) -> web.Response:
        idle_s = time.monotonic() - self._beaten
        why = f"no sign of life for {idle_s:.0f} s" if idle_s > STALE_S else self.sick()
        if why:
            return web.Response(status=503, text=f"{why}\n")
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
