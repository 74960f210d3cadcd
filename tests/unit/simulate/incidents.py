"""Policies and scenarios for the tests of the simulator: small fleets, short incidents."""

from typing import Any

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_api.check import parse as parse_policy
from toolpolicy_api.compile import compile_policy
from toolpolicy_sidecar.simulate.observed import ToolObserved
from toolpolicy_sidecar.simulate.report import Report, Row, report
from toolpolicy_sidecar.simulate.scenario import Scenario, parse
from toolpolicy_sidecar.simulate.simulation import simulate

TIMEOUT = {"total": "8s", "attempt": "2s"}


def policy(*, protocol: str = "HTTP", tools: list[dict[str, Any]] | None = None, **rules: Any) -> bytes:
    """The snapshot of one server and its tool `look`, with these rules, or of these `tools`."""
    look = {"name": "look", "server": "kb", "timeout": TIMEOUT} | rules
    if protocol == "HTTP":
        look["match"] = {"methods": ["POST"], "path": "/v1/{id}/look"}
    document = {
        "apiVersion": "toolpolicy.dev/v1alpha1",
        "kind": "ToolPolicy",
        "metadata": {"name": "support", "namespace": "agents"},
        "spec": {
            "selector": {},
            "servers": [{"name": "kb", "protocol": protocol, "url": "http://kb.internal/mcp"}],
            "tools": [look] if tools is None else tools,
        },
    }
    everywhere = msgspec.structs.replace(compile_policy(parse_policy(document)), created="0")
    return snapshot.encode(snapshot.Snapshot(policies=(everywhere,)))


def scenario(*phases: dict[str, Any], duration: str = "3m", **changes: Any) -> Scenario:
    load = {"name": "look", "callsPerSecond": 20, "latency": {"p50": "50ms", "p99": "300ms"}}
    load |= {key: changes.pop(key) for key in list(changes) if key in {"callsPerSecond", "latency", "errors"}}
    return parse({"duration": duration, "pods": 3, "tools": [load], "phases": list(phases)} | changes)


def played(policies: bytes, incident: Scenario) -> tuple[ToolObserved, dict[str, Row]]:
    """What happened to the one tool, and the rows of its report by their phases."""
    (tool,) = simulate(policies, incident)
    return tool, {row.phase: row for row in reported([tool], incident).tools[0].rows}


def reported(observed: list[ToolObserved], incident: Scenario) -> Report:
    return report(observed, seed=incident.seed, pods=incident.pods)
