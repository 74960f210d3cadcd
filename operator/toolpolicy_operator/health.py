"""Probes and metrics of the operator: alive while its loop turns, ready as leader or as standby."""

import time

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

STALE_S = 30.0


class Health:
    """`beat` is called by the event loop's own work; without it for 30 s the process is dead to the kubelet."""

    def __init__(self) -> None:
        self._beaten = time.monotonic()
        self._runner: web.AppRunner | None = None
        self.registry = CollectorRegistry()
        self.leader = Gauge(
            "toolpolicy_operator_leader", "1 while this replica holds the Lease.", registry=self.registry
        )
        self.connections = Gauge(
            "toolpolicy_operator_sidecars_connected",
            "Sidecars on the control channel.",
            registry=self.registry,
        )
        self.policies = Gauge("toolpolicy_operator_policies", "ToolPolicies known.", registry=self.registry)
        self.pods = Gauge("toolpolicy_operator_pods", "Injected pods known.", registry=self.registry)

    def beat(self) -> None:
        self._beaten = time.monotonic()

    async def start(self, port: int) -> None:
        app = web.Application()
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._alive)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", port).start()

    async def close(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _alive(self, _: web.Request) -> web.Response:
        idle_s = time.monotonic() - self._beaten
        if idle_s > STALE_S:
            return web.Response(status=503, text=f"no sign of life for {idle_s:.0f} s\n")
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
