"""The admin API, on loopback only: circuits, configuration, switches by hand."""

import ipaddress
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from toolpolicy_api import snapshot
from toolpolicy_api.duration import milliseconds
from toolpolicy_sidecar.runtime import Current, UnknownTool

REASON_CHARACTERS = 200


def loopback(host: str) -> bool:
    """An address of this machine alone, by number or by its one name."""
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


class Admin:
    def __init__(self, current: Current) -> None:
        self._current = current

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_from_here])
        app.router.add_get("/admin/circuits", self._circuits)
        app.router.add_get("/admin/config", self._config)
        app.router.add_post(r"/admin/tools/{tool:.+}/{verb:disable|enable|reset}", self._switch)
        return app

    async def _circuits(self, _: web.Request) -> web.Response:
        runtime = self._current.runtime
        return _json({"circuits": runtime.reports() if runtime else ()})

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
            case "disable":
                duration = request.query.get("for")
                try:
                    for_s = milliseconds(duration) / 1000 if duration else None
                except ValueError as error:
                    return _json({"error": f"for: {error}"}, 400)
                circuit.disable(request.query.get("reason", "")[:REASON_CHARACTERS], for_s)
            case "enable":
                circuit.enable()
            case _:
                circuit.reset()
        return _json(circuit.report())


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
