"""The record of a call: as its schema says, complete, and equal to metrics and traces in every count."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from docs.call_schema import page, schema
from tests.unit.datapath.loopback import MCP_HEADERS, Exchange, fine, tools_call, until
from tests.unit.telemetry.observed import TRACE, Observed, observed
from toolpolicy_sidecar.record import CallRecord
from toolpolicy_sidecar.recorders import CallsOnly, Recorders
from toolpolicy_sidecar.telemetry import shipper

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas" / "call.v1.json"
STRICT = schema() | {"additionalProperties": False}
"""What is written must be published; a reader may not mind more."""

SERVERS = {"kb": "MCP", "desk": "HTTP"}
POLICY = {
    "tools": [
        {"name": "search", "server": "kb", "concurrency": {"max": 2, "queue": 64}},
        {
            "name": "ticket",
            "server": "desk",
            "match": {"path": "/t/{id}"},
            "retry": {"maxAttempts": 2, "idempotent": True, "backoff": {"base": "1ms", "max": "2ms"}},
        },
        {
            "name": "broken",
            "server": "desk",
            "match": {"path": "/broken"},
            "circuitBreaker": {"consecutiveFailures": 5, "openFor": "1h"},
            "fallback": {"static": "{}"},
        },
        {"name": "off", "server": "desk", "match": {"path": "/off"}, "enabled": False},
    ],
    "redaction": {"detectors": ["Email"]},
}


async def desk(exchange: Exchange) -> None:
    target = exchange.seen.target
    if "broken" in target or ("/t/flaky" in target and "-01" not in str(exchange.seen.header("x-again"))):
        await exchange.answer(500, b"{}")
    elif "/t/none" in target:
        await exchange.answer(404, b"{}")
    else:
        await fine(exchange)


def test_the_published_schema_is_the_codes() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == page(), "run: make generate"


async def mixed(o: Observed, number: int) -> None:
    """`number` calls, each kind of outcome among them."""
    agent = await o.agent()
    for index in range(number):
        match index % 10:
            case 0 | 1:
                await agent.call(headers=[("Mcp-Session-Id", f"s{index // 100}")], q=str(index))
            case 2:
                await agent.call(q="ann.smith@mailbox.org")
            case 3:
                await agent.request("POST", "/kb", tools_call(f"made-up-{index}"), MCP_HEADERS)
            case 4:
                await agent.request("GET", "/desk/t/flaky")
            case 5:
                await agent.request(
                    "GET", "/desk/t/none", headers=[("traceparent", f"00-{TRACE}-{index + 1:016x}-01")]
                )
            case 6:
                await agent.request("GET", "/desk/broken")
            case 7:
                await agent.request("GET", "/desk/off")
            case 8:
                await agent.request("GET", f"/desk/elsewhere/{index}?a=1&b=2")
            case _:
                await agent.request("GET", "/desk/t/7")


def agree(o: Observed, number: int) -> None:
    """Every count of the three is the same."""
    got, lines = o.receiver, o.lines
    servers = got.servers()
    assert len(lines) == len(servers) == number
    assert o.metric("toolpolicy_calls_begun_total") == o.metric("toolpolicy_call_records_total") == number
    assert o.metric("toolpolicy_tool_calls_total") == o.metric("toolpolicy_tool_results_total") == number
    assert o.metric("toolpolicy_telemetry_exported_total", signal="traces") == len(got.spans)
    assert (
        o.metric("toolpolicy_telemetry_dropped_total") == o.metric("toolpolicy_call_records_lost_total") == 0
    )

    by_line = Counter((one["tool"], one["outcome"], one.get("reason", "")) for one in lines)
    by_span = Counter(
        (
            span.attributes["gen_ai.tool.name"],
            span.attributes["toolpolicy.outcome"],
            span.attributes.get("toolpolicy.reason", ""),
        )
        for span in servers
    )
    assert by_line == by_span
    for (tool, outcome, reason), count in by_line.items():
        labels = {"tool": tool, "outcome": outcome, "reason": reason}
        server = {"server": "kb"} if tool == "search" else {}
        assert o.metric("toolpolicy_tool_calls_total", **labels, **server) == count

    assert sum(one.get("attempts", 0) for one in lines) == len(got.clients())
    retries = sum(len(one.get("retries", ())) for one in lines)
    events = Counter(name for span in servers for name, _ in span.events)
    assert retries == events["toolpolicy.backoff"] == o.metric("toolpolicy_tool_retries_total")
    redacted = sum(sum(one.get("redacted_request", {}).values()) for one in lines)
    counted = sum(
        fields["toolpolicy.redacted.Email"]
        for span in servers
        for name, fields in span.events
        if name == "toolpolicy.redaction"
    )
    assert redacted == counted == o.metric("toolpolicy_redactions_total") == number // 10
    assert events["toolpolicy.circuit"] == o.metric("toolpolicy_circuit_transitions_total") == 1
    fallbacks = sum("fallback" in one for one in lines)
    assert (
        events["toolpolicy.fallback"] == fallbacks == o.metric("toolpolicy_fallbacks_total") == number // 10
    )
    assert {one["trace_id"] for one in lines} == {span.trace_id for span in servers}
    assert {span.parent for span in got.clients()} <= {span.span_id for span in servers}


ALL = {"OTEL_BSP_MAX_QUEUE_SIZE": "100000"}


@pytest.mark.parametrize(
    "number", [100, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
async def test_metrics_records_and_traces_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(shipper, "ENCODING_SHARE", 1.0)  # nobody else waits for the loop
    async with observed(
        tmp_path, monkeypatch, POLICY, servers=SERVERS, scripts={"desk": desk}, environment=ALL
    ) as o:
        await mixed(o, number)
        await o.exported()
        agree(o, number)
        validator = jsonschema_rs.validator_for(STRICT)
        for line in o.lines:
            validator.validate(line)


def test_the_schema_can_refuse() -> None:
    validator = jsonschema_rs.validator_for(STRICT)
    assert not validator.is_valid({"event": "call"})
    assert not validator.is_valid({"event": "call", "arguments": "x"})


CANARY = "canary-9f8e7d6c5b4a"


@pytest.mark.parametrize("mode", ["Enforce", "Shadow", "Off"])
async def test_nothing_that_a_caller_or_a_tool_says_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Not in lines, spans, log records or metrics: neither arguments nor results, headers, paths, names or ids."""

    async def tells(exchange: Exchange) -> None:
        await exchange.answer(500 if b"fail" in exchange.seen.body else 200, CANARY.encode())

    environment = {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_BLRP_SCHEDULE_DELAY": "20"}
    async with observed(
        tmp_path,
        monkeypatch,
        POLICY | {"mode": mode},
        servers=SERVERS,
        scripts={"kb": tells, "desk": tells},
        environment=environment,
    ) as o:
        agent = await o.agent()
        headers = [
            ("Authorization", f"Bearer {CANARY}"),
            ("Mcp-Session-Id", CANARY),
            ("X-Session", CANARY),
            ("Cookie", CANARY),
            ("Baggage", f"token={CANARY},session.id={CANARY}"),
            ("traceparent", CANARY),
            ("MCP-Protocol-Version", CANARY),
        ]
        for name in ("search", CANARY):
            for word in ("fine", "fail"):
                body = tools_call(name, identifier=CANARY, word=word, secret=CANARY)
                await agent.request("POST", "/kb", body, [*MCP_HEADERS, *headers])
        await agent.request("POST", f"/desk/t/{CANARY}?q={CANARY}", b"fail", headers)
        await agent.request("GET", f"/desk/{CANARY}", None, headers)
        got = await o.exported()
        await until(lambda: len(got.logs) == 6)
        assert len(got.servers()) == len(o.lines) == 6
        for said in (o.said.encode(), o.sidecar.metrics.text(), *got.bodies):
            assert CANARY.encode() not in said


async def test_the_iterations_of_sessions_are_a_histogram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--session-header", "X-Session")
    async with observed(tmp_path, monkeypatch, POLICY, servers=SERVERS, flags=flags) as o:
        agent = await o.agent()
        for _ in range(9):
            await agent.call(headers=[("X-Session", "loops")])
        await agent.call(headers=[("X-Session", "short")])
        await o.exported()
        assert o.metric("toolpolicy_sessions_live") == 2
        assert o.metric("toolpolicy_session_live_iterations", policy="support/agent") == 9
        assert o.metric("toolpolicy_session_iterations_count") == 0
        assert "loops" not in json.dumps(o.lines)
        assert len({line["session"] for line in o.lines}) == 2


def test_a_recorder_that_fails_takes_the_record_from_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: CallRecord) -> None:
        raise RuntimeError("disk full")

    kept: list[CallRecord] = []
    recorders = Recorders()
    recorders.all += [CallsOnly(broken), CallsOnly(kept.append)]
    record: Any = CallRecord(
        policy="a/b",
        server="s",
        tool="t",
        protocol="HTTP",
        outcome="success",
        status=200,
        started_at_ms=1,
        duration_ms=1.0,
    )
    recorders.call(record)
    recorders.call(record)
    assert len(kept) == 2
    assert (recorders.recorded, recorders.lost) == (0, {"CallsOnly": 2})
    assert len(caplog.records) == 1  # once, not for each call
