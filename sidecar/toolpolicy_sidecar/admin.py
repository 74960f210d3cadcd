"""The admin API, on loopback only: circuits, failing calls, configuration, switches by hand."""

import asyncio
import ipaddress
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from toolpolicy_api import snapshot
from toolpolicy_api.channel import OverrideAction, ToolKey
from toolpolicy_sidecar import reported, view
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.override import asked
from toolpolicy_sidecar.record import Recorder
from toolpolicy_sidecar.runtime import Current, UnknownTool
from toolpolicy_sidecar.view import FailedCalls


def loopback(host: str) -> bool:
    """An address of this machine alone, by number or by its one name."""
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


_ACTIONS: dict[str, OverrideAction] = {"disable": "Disable", "force-closed": "ForceClosed"}
_LATE_S = 0.01
"""Timers may fire a little early, by the loop's own clock."""


class Admin:
    def __init__(self, current: Current, clock: Clock, failed: FailedCalls, recorder: Recorder) -> None:
        """`recorder`: hears of the calls that other processes report."""
        self._current, self._clock, self._failed = current, clock, failed
        self._recorder = recorder

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_from_here], client_max_size=reported.REPORT_BYTES)
        app.router.add_get("/admin/circuits", self._circuits)
        app.router.add_get("/admin/calls", self._calls)
        app.router.add_get("/admin/config", self._config)
        app.router.add_get("/admin/snapshot", self._snapshot)
        app.router.add_post("/admin/records", self._records)
        app.router.add_post(r"/admin/tools/{tool:.+}/{verb:disable|force-closed|enable|reset}", self._switch)
        return app

    async def _circuits(self, _: web.Request) -> web.Response:
        return _json(view.circuits(self._current.runtime))

    async def _calls(self, _: web.Request) -> web.Response:
        return _json(self._failed.newest())

    async def _config(self, _: web.Request) -> web.Response:
        runtime = self._current.runtime
        if runtime is None:
            return _json(
                {"hash": None, "source": None, "coldStart": self._current.cold_start, "policies": []}
            )
        policies = [
            {
                "namespace": policy.namespace,
                "name": policy.name,
                "generation": policy.generation,
                "hash": snapshot.sha256(snapshot.encode(policy)),
            }
            for policy in runtime.policies
        ]
        body = {
            "hash": runtime.hash,
            "source": runtime.source,
            "appliedAtMs": runtime.applied_ms,
            "policies": policies,
        }
        return _json(body)

    async def _snapshot(self, request: web.Request) -> web.Response:
        """All that is in force, for `toolpolicy stdio`: policies hold no secrets."""
        runtime = self._current.runtime
        if runtime is None:
            return _json({"error": "no policy is in force"}, 404)
        tag = f'"{runtime.hash}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        data = snapshot.encode(snapshot.Snapshot(runtime.policies))
        return web.Response(body=data, content_type="application/json", headers={"ETag": tag})

    async def _records(self, request: web.Request) -> web.Response:
        """Of `toolpolicy stdio`."""
        runtime = self._current.runtime
        if runtime is None:
            return _json({"error": "no policy is in force"}, 404)
        try:
            report = reported.decode(await request.read())
            taken = reported.take(report, runtime, self._recorder, self._clock)
        except ValueError as error:
            return _json({"error": f"this is no report of calls: {error}"}, 400)
        return _json({"taken": taken})

    async def _switch(self, request: web.Request) -> web.Response:
        runtime = self._current.runtime
        tool = unquote(request.match_info["tool"])
        if runtime is None:
            return _json({"error": "no policy is in force"}, 404)
        try:
            circuit = runtime.circuit(tool)
        except UnknownTool as unknown:
            return _json({"error": str(unknown)}, 404)
        match request.match_info["verb"]:
            case "enable":
                circuit.lift("enabled by hand")
            case "reset":
                circuit.reset()
            case verb:
                if (mode := runtime.mode(circuit)) != "Enforce":
                    text = f"its policy is in mode {mode}: calls pass whatever is switched"
                    return _json({"error": text}, 409)
                if verb == "force-closed" and not circuit.has_breaker:
                    return _json({"error": "it has no circuit breaker: nothing of it is ever open"}, 409)
                now = self._clock.monotonic()
                try:
                    override = asked(_ACTIONS[verb], request.query, now, self._clock.unix_ms())
                except ValueError as error:
                    return _json({"error": str(error)}, 400)
                circuit.impose(override)
                self._lift_in_time(circuit.key, override.until - now)
        return _json(circuit.report())

    def _lift_in_time(self, key: ToolKey, for_s: float) -> None:
        """It ends when it is looked at, and that is when it is due: whoever has the tool then looks at it."""

        def look() -> None:
            runtime = self._current.runtime
            circuit = runtime.circuits.get(key) if runtime else None
            if circuit is not None:
                circuit.override(self._clock.monotonic())

        asyncio.get_running_loop().call_later(for_s + _LATE_S, look)


@web.middleware
async def _from_here(request: web.Request, handler: Any) -> web.StreamResponse:
    """A web page in a browser can be made to call loopback: its Host or Origin gives it away."""
    if not loopback(request.host) or "Origin" in request.headers:
        return _json({"error": "the admin API answers to this pod alone"}, 403)
    answer: web.StreamResponse = await handler(request)
    return answer


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body) + b"\n", content_type="application/json"
    )
