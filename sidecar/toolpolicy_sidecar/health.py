"""Probes and metrics, on the pod's address."""

from aiohttp import web

from toolpolicy_sidecar.metrics import Metrics

OPENMETRICS = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """`started`: it is decided what is enforced, and the listener is open. `draining`: no new calls, please."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.started = False
        self.draining = False

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/startupz", self._started)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._text)
        return app

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _started(self, _: web.Request) -> web.Response:
        if self.started:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="waiting for a configuration\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self.started and not self.draining:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="draining\n" if self.draining else "starting\n")

    async def _text(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": OPENMETRICS})
