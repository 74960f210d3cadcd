"""The admin API, on loopback only: circuits, failing calls, configuration, switches by hand."""

import asyncio
import ipaddress
import re
from typing import Any
from urllib.parse import unquote

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_api.channel import OverrideAction, ToolKey
from toolpolicy_sidecar import reported, view
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.listeners.pages import NOT_ALLOWED, NOT_FOUND, Page, PageRequest, Pages
from toolpolicy_sidecar.override import asked
from toolpolicy_sidecar.record import Recorder
from toolpolicy_sidecar.runtime import UnknownTool
from toolpolicy_sidecar.view import FailedCalls


def loopback(host: str) -> bool:
    """An address of this machine alone, by number or by its one name."""
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


_ACTIONS: dict[str, OverrideAction] = {"disable": "Disable", "force-closed": "ForceClosed"}
_SWITCH = re.compile(r"/admin/tools/(.+)/(disable|force-closed|enable|reset)")
_JSON = "application/json; charset=utf-8"
_LATE_S = 0.01
"""Timers may fire a little early, by the loop's own clock."""


class Admin:
    def __init__(self, current: Current, clock: Clock, failed: FailedCalls, recorder: Recorder) -> None:
        """`recorder`: hears of the calls that other processes report."""
        self._current, self._clock, self._failed = current, clock, failed
        self._recorder = recorder

    def pages(self) -> Pages:
        return Pages(self.page, body_bytes=reported.REPORT_BYTES, clock=self._clock)

    async def page(self, request: PageRequest) -> Page:
        """A web page in a browser can be made to call loopback: its Host or Origin gives it away. Raises Stopped."""
        if not loopback(request.header("Host")) or request.header("Origin"):
            return _json({"error": "the admin API answers to this pod alone"}, 403)
        switch = _SWITCH.fullmatch(request.path)
        if switch is not None or request.path == "/admin/records":
            if request.method != "POST":
                return NOT_ALLOWED
            return await self._records(request) if switch is None else self._switch(request, *switch.groups())
        if request.method not in {"GET", "HEAD"}:
            return NOT_ALLOWED
        match request.path:
            case "/admin/circuits":
                return _json(view.circuits(self._current.runtime))
            case "/admin/calls":
                return _json(self._failed.newest())
            case "/admin/config":
                return self._config()
            case "/admin/snapshot":
                return self._snapshot(request)
        return NOT_FOUND

    def _config(self) -> Page:
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

    def _snapshot(self, request: PageRequest) -> Page:
        """All that is in force, for `toolpolicy stdio`: policies hold no secrets."""
        runtime = self._current.runtime
        if runtime is None:
            return _json({"error": "no policy is in force"}, 404)
        tag = f'"{runtime.hash}"'
        if request.header("If-None-Match") == tag:
            return Page(b"", 304, _JSON, ((b"ETag", tag.encode("ascii")),))
        data = snapshot.encode(snapshot.Snapshot(runtime.policies))
        return Page(data, 200, _JSON, ((b"ETag", tag.encode("ascii")),))

    async def _records(self, request: PageRequest) -> Page:
        """Of `toolpolicy stdio`. Raises Stopped."""
        runtime = self._current.runtime
        if runtime is None:
            return _json({"error": "no policy is in force"}, 404)
        try:
            report = reported.decode(await request.body())
            taken = reported.take(report, runtime, self._recorder, self._clock)
        except ValueError as error:
            return _json({"error": f"this is no report of calls: {error}"}, 400)
        return _json({"taken": taken})

    def _switch(self, request: PageRequest, tool: str, verb: str) -> Page:
        runtime = self._current.runtime
        tool = unquote(tool)
        if runtime is None:
            return _json({"error": "no policy is in force"}, 404)
        try:
            circuit = runtime.circuit(tool)
        except UnknownTool as unknown:
            return _json({"error": str(unknown)}, 404)
        match verb:
            case "enable":
                circuit.lift("enabled by hand")
            case "reset":
                circuit.reset()
            case _:
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


def _json(body: Any, status: int = 200) -> Page:
    return Page(msgspec.json.encode(body) + b"\n", status, _JSON)
