"""Probes and metrics, on the pod's address."""

from aiohttp import web

from toolpolicy_sidecar.metrics import Metrics

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text"


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

    async def _text(self, request: web.Request) -> web.Response:
        """OpenMetrics to whoever names it, as Prometheus does first of all: its versions differ in nothing of ours."""
        if _names(request.headers.get("Accept", ""), OPENMETRICS):
            body, kind = self._metrics.open_text(), f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
        else:
            body, kind = self._metrics.text(), TEXT
        return web.Response(body=body, headers={"Content-Type": kind})


def _names(accept: str, media_type: str) -> bool:
    """RFC 9110, 12.5.1, without weights: a type that is named is one that is understood, but for `q=0`."""
    for each in accept.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        if name == media_type:
            return not any(part in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for part in parameters)
    return False
