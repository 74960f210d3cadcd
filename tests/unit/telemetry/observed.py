"""A whole sidecar between a raw client and scripted tools, and an OTLP/HTTP receiver on a real socket."""

import asyncio
import gzip
import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.unit.datapath.loopback import Agent, Exchange, Script, Tool, until
from toolpolicy_sidecar.log import _lines, configure
from toolpolicy_sidecar.process import Sidecar
from toolpolicy_sidecar.settings import parse

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
AGENT_SPAN = "00f067aa0ba902b7"


@dataclass
class Span:
    """One that arrived."""

    name: str
    trace_id: str
    span_id: str
    parent: str
    kind: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[str]
    failed: bool
    state: str
    began_ns: int
    ended_ns: int

    def event(self, name: str) -> dict[str, Any]:
        (found,) = [attributes for known, attributes in self.events if known == name]
        return found


@dataclass
class Receiver:
    """A collector. `bodies` is all that it was ever sent, decompressed."""

    tool: Tool
    spans: list[Span] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def take(self, exchange: Exchange) -> None:
        seen = exchange.seen
        body = gzip.decompress(seen.body) if seen.header("content-encoding") == "gzip" else seen.body
        self.bodies.append(body)
        if seen.target.endswith("/v1/traces"):
            self._traces(body)
        elif seen.target.endswith("/v1/logs"):
            self._logs(body)
        await exchange.answer(200, b"", "application/x-protobuf")

    def servers(self) -> list[Span]:
        return [span for span in self.spans if span.kind == 2]

    def clients(self) -> list[Span]:
        return [span for span in self.spans if span.kind == 3]

    def _traces(self, body: bytes) -> None:
        for of in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(plain(of.resource.attributes))
            for scope in of.scope_spans:
                self.spans += [
                    Span(
                        name=span.name,
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        kind=span.kind,
                        attributes=plain(span.attributes),
                        events=[(event.name, plain(event.attributes)) for event in span.events],
                        links=[link.span_id.hex() for link in span.links],
                        failed=span.status.code == 2,
                        state=span.trace_state,
                        began_ns=span.start_time_unix_nano,
                        ended_ns=span.end_time_unix_nano,
                    )
                    for span in scope.spans
                ]

    def _logs(self, body: bytes) -> None:
        for of in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in of.scope_logs:
                self.logs += [plain(record.attributes) for record in scope.log_records]


def plain(attributes: Any) -> dict[str, Any]:
    pairs: list[KeyValue] = list(attributes)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return plain(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


@dataclass
class Observed:
    sidecar: Sidecar
    tools: dict[str, Tool]
    receiver: Receiver
    output: io.TextIOWrapper
    agents: list[Agent] = field(default_factory=list)

    async def agent(self) -> Agent:
        agent = await Agent.connect(self.sidecar.bound["reverse"].port)
        self.agents.append(agent)
        return agent

    @property
    def said(self) -> str:
        """On standard output, and what waits for more of it."""
        _lines().flush()
        return cast("io.BytesIO", self.output.buffer).getvalue().decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Of the log, those about calls."""
        found = [json.loads(line) for line in self.said.splitlines()]
        return [line for line in found if line["event"] == "call"]

    async def exported(self) -> Receiver:
        """All that there is to export has arrived."""
        await until(lambda: self.sidecar.pipeline.begun == self.sidecar.recorders.recorded)
        for shipper in self.sidecar.exports.shippers.values():
            while shipper.outbox.size:
                shipper._ready.set()
                await asyncio.sleep(0.002)
        return self.receiver

    def metric(self, name: str, **labels: str) -> float:
        """A sum over everything that has these labels."""
        return sum(
            sample.value
            for family in self.sidecar.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@asynccontextmanager
async def observed(
    folder: Path,
    patch: pytest.MonkeyPatch,
    spec: Mapping[str, Any],
    *,
    servers: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    scripts: Mapping[str, Script] | None = None,
    flags: tuple[str, ...] = (),
) -> AsyncIterator[Observed]:
    """`servers`: name → protocol, each a process of its own. `spec` is the rest of the policy's."""
    tools = {name: Tool() for name in servers}
    collector = Tool()
    receiver = Receiver(collector)
    collector.script = receiver.take
    for name, tool in tools.items():
        if scripts and name in scripts:
            tool.script = scripts[name]
    for tool in (*tools.values(), collector):
        await tool.start()
    listed = [
        {"name": name, "protocol": protocol, "url": f"http://127.0.0.1:{tools[name].port}/{name}"}
        for name, protocol in servers.items()
    ]
    policy = {
        "apiVersion": "toolpolicy.dev/v1alpha1",
        "kind": "ToolPolicy",
        "metadata": {"name": "agent", "namespace": "support"},
        "spec": {"selector": {}, "servers": listed, **spec},
    }
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    endpoint = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "OTEL_BSP_SCHEDULE_DELAY": "20",
    }
    for name, value in (endpoint | dict(environment or {})).items():
        patch.setenv(name, value)
    nowhere = "127.0.0.1:0"
    settings = parse(
        [*("--policies", str(folder), "--reverse", nowhere, "--admin", nowhere, "--metrics", nowhere), *flags]
    )
    output = io.TextIOWrapper(io.BytesIO(), write_through=True)
    patch.setattr(sys, "stdout", output)
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    configure("info")
    sidecar = Sidecar(settings)
    made = Observed(sidecar, tools, receiver, output)
    try:
        await sidecar.start()
        yield made
    finally:
        for agent in made.agents:
            agent.close()
        await sidecar.stop()
        root.level, root.handlers[:] = before
        await asyncio.gather(*(tool.stop() for tool in (*tools.values(), collector)))
