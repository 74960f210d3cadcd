"""A receiver that is away, slow, angry or choosy: calls go on, and what is lost is counted."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.unit.datapath.loopback import Exchange, Script, until
from tests.unit.telemetry.observed import Observed, observed
from toolpolicy_sidecar.telemetry import shipper

DESK = {"desk": "HTTP"}
POLICY = {"tools": [{"name": "ticket", "server": "desk", "match": {"path": "/t"}}]}
SPANS = 2
"""Of a call that is tried once."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper, "BACKOFF_S", 0.005)


async def call(o: Observed, times: int = 1) -> None:
    agent = await o.agent()
    for _ in range(times):
        assert (await agent.request("GET", "/desk/t")).status == 200


def answers(status: int, **headers: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, b"", "", **headers)

    return script


async def resets(exchange: Exchange) -> None:
    exchange.reset()


@pytest.mark.parametrize(
    ("script", "tries"),
    [
        (answers(503), shipper.TRIES),
        (answers(429, Retry_After="0"), shipper.TRIES),
        (answers(400), 1),
        (resets, None),
    ],
)
async def test_what_is_not_delivered_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script, tries: int | None
) -> None:
    async with observed(tmp_path, monkeypatch, POLICY, servers=DESK) as o:
        collector = o.receiver.tool
        collector.script = script
        await call(o)
        await until(lambda: o.metric("toolpolicy_telemetry_dropped_total", reason="NotDelivered") == SPANS)
        assert tries is None or len(collector.seen) == tries
        collector.script = o.receiver.take
        await call(o)
        await until(lambda: o.metric("toolpolicy_telemetry_exported_total", signal="traces") == SPANS)
        assert o.metric("toolpolicy_telemetry_queued") == 0
        said = o.said
        assert said.count("telemetry is not delivered") == said.count("telemetry is delivered again") == 1


async def test_a_second_try_delivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with observed(tmp_path, monkeypatch, POLICY, servers=DESK) as o:
        collector = o.receiver.tool

        async def at_second(exchange: Exchange) -> None:
            if len(collector.seen) < 2:
                await exchange.answer(503, b"")
            else:
                await o.receiver.take(exchange)

        collector.script = at_second
        await call(o)
        assert len((await o.exported()).spans) == SPANS
        assert collector.seen[0].body == collector.seen[1].body
        assert o.metric("toolpolicy_telemetry_dropped_total") == 0


async def test_what_a_receiver_does_not_take_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observed(tmp_path, monkeypatch, POLICY, servers=DESK) as o:

        async def choosy(exchange: Exchange) -> None:
            answer = ExportTraceServiceResponse()
            answer.partial_success.rejected_spans = 1
            await exchange.answer(200, answer.SerializeToString(), "application/x-protobuf")

        o.receiver.tool.script = choosy
        await call(o)
        await o.exported()
        assert o.metric("toolpolicy_telemetry_dropped_total", reason="Rejected") == 1
        assert o.metric("toolpolicy_telemetry_exported_total") == SPANS - 1


async def test_a_receiver_that_hangs_costs_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"OTEL_BSP_MAX_QUEUE_SIZE": "40", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"}
    async with observed(tmp_path, monkeypatch, POLICY, servers=DESK, environment=environment) as o:
        hanging = asyncio.Event()

        async def hangs(exchange: Exchange) -> None:
            await hanging.wait()
            await o.receiver.take(exchange)

        o.receiver.tool.script = hangs
        await call(o, 30)  # good ones: they may take half of the room
        await until(lambda: o.sidecar.pipeline.begun == o.sidecar.recorders.recorded)
        assert o.metric("toolpolicy_telemetry_queued") == 20
        assert o.metric("toolpolicy_telemetry_dropped_total", reason="QueueFull") == 30 * SPANS - 20
        hanging.set()
        assert len((await o.exported()).spans) == 20


async def test_what_waits_leaves_before_the_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    async with observed(tmp_path, monkeypatch, POLICY, servers=DESK, environment=environment) as o:
        await call(o)
        await o.sidecar.exports.close(20.0)
        assert len(o.receiver.spans) == SPANS


def test_nothing_of_opentelemetry_is_loaded_where_nothing_leaves() -> None:
    """Start-up time and memory of those who do not use it."""
    code = """
import asyncio, sys
from toolpolicy_sidecar.process import Sidecar
from toolpolicy_sidecar.settings import parse
async def main():
    Sidecar(parse(["--policies", "nowhere"])).exports.start()
asyncio.run(main())
print([name for name in sys.modules if name.startswith(("opentelemetry", "google.protobuf"))])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
