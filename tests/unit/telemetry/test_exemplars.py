"""From a bar of a histogram to the trace of a call that is in it."""

from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.unit.datapath.loopback import Agent, Exchange
from tests.unit.telemetry.observed import AGENT_SPAN, TRACE, Observed, observed
from toolpolicy_sidecar.health import OPENMETRICS, TEXT

DESK = {"desk": "HTTP"}
POLICY = {
    "tools": [
        {"name": "ticket", "server": "desk", "match": {"path": "/t"}},
        {"name": "broken", "server": "desk", "match": {"path": "/broken"}},
    ]
}
NEVER = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
PROMETHEUS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


async def desk(exchange: Exchange) -> None:
    await exchange.answer(500 if exchange.seen.target.endswith("/broken") else 200, b"{}")


async def scrape(o: Observed, accept: str | None) -> tuple[str, str]:
    """Media type and text."""
    agent = await Agent.connect(o.sidecar.bound["metrics"].port)
    o.agents.append(agent)
    answer = await agent.request("GET", "/metrics", headers=[("Accept", accept)] if accept else [])
    assert answer.status == 200
    return str(answer.header("content-type")), answer.body.decode()


def trace_ids(text: str) -> dict[tuple[str, str], set[str]]:
    """(metric, tool) → of its exemplars. Read by a strict parser of the library's."""
    found: dict[tuple[str, str], set[str]] = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            if sample.exemplar:
                key = (family.name, sample.labels["tool"])
                found.setdefault(key, set()).add(sample.exemplar.labels["trace_id"])
    return found


async def test_calls_whose_traces_are_kept_are_exemplars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observed(
        tmp_path, monkeypatch, POLICY, servers=DESK, scripts={"desk": desk}, environment=NEVER
    ) as o:
        agent = await o.agent()
        await agent.request("GET", "/desk/t")
        await agent.request("GET", "/desk/broken")
        first = await o.exported()
        (failed,) = first.servers()
        kind, text = await scrape(o, PROMETHEUS)
        assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        names = ("toolpolicy_tool_calls", "toolpolicy_tool_call_duration_seconds")
        assert trace_ids(text) == {(name, "broken"): {failed.trace_id} for name in names}

        await agent.request("GET", "/desk/t", headers=[("traceparent", f"00-{TRACE}-{AGENT_SPAN}-01")])
        await o.exported()
        _, text = await scrape(o, PROMETHEUS)
        assert {key[1]: ids for key, ids in trace_ids(text).items()} == {
            "broken": {failed.trace_id},
            "ticket": {TRACE},
        }


@pytest.mark.parametrize("accept", [None, "*/*", "text/plain;version=0.0.4", f"{OPENMETRICS};q=0", ";,;q=x"])
async def test_the_plain_format_is_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accept: str | None
) -> None:
    async with observed(tmp_path, monkeypatch, POLICY, servers=DESK) as o:
        agent = await o.agent()
        await agent.request("GET", "/desk/t")
        await o.exported()
        kind, text = await scrape(o, accept)
        assert kind == TEXT
        assert "trace_id" not in text
        assert "# EOF" not in text


async def test_nothing_is_an_exemplar_where_no_traces_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = {"OTEL_TRACES_EXPORTER": "none"}
    async with observed(tmp_path, monkeypatch, POLICY, servers=DESK, environment=off) as o:
        agent = await o.agent()
        await agent.request("GET", "/desk/t", headers=[("traceparent", f"00-{TRACE}-{AGENT_SPAN}-01")])
        await o.exported()
        _, text = await scrape(o, PROMETHEUS)
        assert trace_ids(text) == {}
