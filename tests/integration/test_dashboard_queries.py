"""Every query of the dashboards returns data: a real Prometheus has scraped a real sidecar with a broken tool.

The operator's metrics come from its own registry, on a real socket, with the figures of a small cluster set by hand."""

import contextlib
import json
import math
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import yaml
from prometheus_client import start_http_server

from localcluster.ports import free_port
from localcluster.prometheus import RULES, running
from tests.commands import commands, of_docs
from tests.integration.test_sidecar_process import Process, request
from toolpolicy_api.check import parse
from toolpolicy_operator.metrics import ConditionNow
from toolpolicy_operator.metrics import Metrics as OperatorMetrics
from toolpolicy_operator.runbook.page import pages

pytestmark = pytest.mark.integration
FILES = Path(__file__).parents[2] / "charts" / "toolpolicy" / "files"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
"""Makes one session of all calls."""
WITHIN_S = 60
"""Generous: rules, scrapes and calls go on each second until every query has data."""


class Query(NamedTuple):
    panel: str
    expr: str


def chosen(expr: str) -> str:
    """As Grafana asks when nothing is narrowed down."""
    return expr.replace("$policy", ".*").replace("$tool", ".*").replace("$__range", "1h")


def queries() -> list[Query]:
    """Of every panel of every dashboard."""
    return [
        Query(f"{path.stem}: {panel['title']}", chosen(target["expr"]))
        for path in sorted((FILES / "dashboards").glob("*.json"))
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets") or ()
    ]


class Upstream(BaseHTTPRequestHandler):
    """/broken fails, the rest works."""

    def do_GET(self) -> None:
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 -- http.server's name
        """Silent."""


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def policy(server: int) -> dict[str, Any]:
    tools: list[dict[str, Any]] = [
        {"name": "fine", "server": "desk", "match": {"path": "/fine"}},
        {
            "name": "broken",
            "server": "desk",
            "match": {"path": "/broken"},
            "circuitBreaker": {"consecutiveFailures": 10, "openFor": "1s"},
            "fallback": {"static": "{}"},
            "retry": {
                "maxAttempts": 2,
                "idempotent": True,
                "on": ["ServerError"],
                "backoff": {"base": "1ms", "max": "2ms"},
            },
        },
    ]
    return {
        "apiVersion": "toolpolicy.dev/v1alpha1",
        "kind": "ToolPolicy",
        "metadata": {"name": "agent", "namespace": "support"},
        "spec": {
            "selector": {},
            "servers": [{"name": "desk", "protocol": "HTTP", "url": f"http://127.0.0.1:{server}"}],
            "tools": tools,
        },
    }


@contextlib.contextmanager
def sidecar(folder: Path, server: int) -> Iterator[Process]:
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(policy(server)), encoding="utf-8")
    process = Process(folder, "--policies", str(path))
    try:
        process.started()
        yield process
    finally:
        process.end()


@contextlib.contextmanager
def operator() -> Iterator[int]:
    metrics = OperatorMetrics()
    metrics.leader.set(1)
    metrics.connections.set(1)
    metrics.pods.set(1)
    metrics.policies.set(1)
    metrics.conditions.read = lambda: [ConditionNow("support/agent", "Programmed", "False", "Nacked")]
    metrics.uncovered.read = lambda: {"support/agent": 0}
    port = free_port()
    server, thread = start_http_server(port, "127.0.0.1", metrics.registry)
    yield port
    server.shutdown()
    server.server_close()
    thread.join()


@contextlib.contextmanager
def prometheus(folder: Path, targets: dict[str, int]) -> Iterator[str]:
    """Its address. It scrapes and evaluates the chart's rules each second."""
    scrapes = [
        {
            "job_name": name,
            "static_configs": [
                {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "support", "pod": name}}
            ],
        }
        for name, port in targets.items()
    ]
    with running(folder, scrapes, rules=RULES.read_text(encoding="utf-8")) as started:
        yield started.address


def has_data(prometheus: str, expr: str) -> bool:
    status, text = request(f"{prometheus}/api/v1/query?{urlencode({'query': expr})}")
    answer = json.loads(text) if status in {200, 400, 422} else {}
    assert answer.get("status") != "error", f"{expr}: {answer.get('error')}"
    found = answer.get("data", {}).get("result", [])
    return any(not math.isnan(float(each["value"][1])) for each in found)


def exemplars(prometheus: str, expr: str) -> set[str]:
    """Trace ids."""
    asked = urlencode({"query": expr, "start": time.time() - 3600, "end": time.time()})
    _, text = request(f"{prometheus}/api/v1/query_exemplars?{asked}")
    return {each["labels"]["trace_id"] for of in json.loads(text)["data"] for each in of["exemplars"]}


def test_every_query_of_every_panel_has_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A collector that is away: what cannot be told is counted.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    wanted = queries()
    assert len(wanted) > 30
    with upstream() as server, sidecar(tmp_path, server) as proxy, operator() as told:
        _, page = pages(parse(policy(server)))
        wanted += [
            Query("runbook of broken", each.text) for each in commands(page, "") if each.kind == "promql"
        ]
        assert len(wanted) > len(queries())
        targets = {"agent": proxy.metrics, "operator": told}
        with prometheus(tmp_path, targets) as address:
            missing, ends = wanted, time.monotonic() + WITHIN_S
            while missing and time.monotonic() < ends:
                for tool in ("fine", "broken", "broken"):
                    request(f"http://127.0.0.1:{proxy.reverse}/desk/{tool}", traceparent=TRACE)
                time.sleep(0.2)
                missing = [each for each in missing if not has_data(address, each.expr)]
            assert not missing, "\n".join(f"{panel}: {expr}" for panel, expr in missing)
            assert not has_data(address, "toolpolicy_nobody_has_this")
            for each in of_docs():
                if each.kind == "promql":
                    has_data(address, each.text)  # often none, but Prometheus takes it
            assert exemplars(address, 'toolpolicy_tool_call_duration_seconds_bucket{tool="broken"}') == {
                TRACE.split("-")[1]
            }
