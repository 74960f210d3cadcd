"""Concurrency limits under real calls, over sockets: refused, queued, cancelled, reloaded, and counted exactly."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.datapath.loopback import (
    HANG_S,
    MCP_HEADERS,
    Agent,
    Exchange,
    World,
    breaker,
    rules,
    tools_call,
    until,
    world,
)
from toolpolicy_api.snapshot import Concurrency, Rules
from toolpolicy_sidecar import classify
from toolpolicy_sidecar.admission import sample_of
from toolpolicy_sidecar.metrics import Metrics
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.resilience.adaptive import START, Sample
from toolpolicy_sidecar.slots import Slots

TICKET = "/api/v1/tickets/5"


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def limited(most: int, queue: int = 0, queue_timeout_ms: int | None = None, **more: Any) -> Rules:
    return rules(concurrency=Concurrency(most, queue, queue_timeout_ms), **more)


def slots(w: World, tool: str | None = "ticket") -> Slots:
    """None: of the server of HTTP tools."""
    assert w.current.runtime
    server = "kb" if tool == "search" else "api"
    return next(of for key, of in w.current.runtime.slots.items() if (key.server, key.tool) == (server, tool))


def counts(w: World, tool: str | None = "ticket") -> tuple[int, int]:
    return slots(w, tool).in_flight, slots(w, tool).waiting


def counted(w: World, wanted: tuple[int, int]) -> bool:
    return counts(w) == wanted


class Held:
    """A tool that answers when it is told to, in the order of the calls."""

    def __init__(self, w: World) -> None:
        self._w = w
        self._gates: list[asyncio.Event] = []
        w.tool.script = self.script

    async def script(self, exchange: Exchange) -> None:
        gate = asyncio.Event()
        self._gates.append(gate)
        await gate.wait()
        if exchange.seen.method == "POST":
            await exchange.result()
        else:
            await exchange.answer(200, b"{}")

    def answer(self) -> None:
        self._gates.pop(0).set()

    async def got(self, number: int) -> None:
        """So many calls have reached the tool, ever."""
        await until(lambda: len(self._w.tool.seen) >= number)
        assert len(self._w.tool.seen) == number


async def sent(w: World) -> Agent:
    agent = await w.agent()
    await agent.send("GET", TICKET)
    return agent


async def test_one_too_many_is_refused_at_once(w: World) -> None:
    w.install(tool_rules=limited(1, breaker=breaker(1)))
    held = Held(w)
    first = await sent(w)
    await held.got(1)
    refused = await (await w.agent()).request("GET", TICKET)
    assert (refused.status, refused.json["reason"]) == (429, "ConcurrencyLimit")
    assert refused.header("Retry-After") is None
    assert "all slots of the tool are taken (1 at once are allowed)" in refused.json["detail"]
    record = await w.recorded_call()
    assert (record.outcome, record.attempts, record.status) == ("refused", 0, 429)
    held.answer()
    assert (await first.answer()).status == 200
    await until(lambda: counts(w) == (0, 0))
    assert not w.recorded.transitions  # our own refusals say nothing about the tool


async def test_as_the_model_reads_it(w: World) -> None:
    w.install(tool_rules=limited(1))
    held = Held(w)
    first = await w.agent()
    await first.send("POST", "/kb", tools_call(), MCP_HEADERS)
    await held.got(1)
    refused = await (await w.agent()).call()
    assert refused.status == 200
    assert refused.meta["toolpolicy.dev/reason"] == "ConcurrencyLimit"
    assert refused.text.startswith("The tool search is busy and was not called: all slots of the tool are")
    assert refused.text.endswith("Try again later.")
    held.answer()
    assert (await first.answer()).status == 200


async def test_those_who_wait_are_served_in_order(w: World) -> None:
    w.install(tool_rules=limited(1, queue=2))
    held = Held(w)
    agents = [await sent(w)]
    await held.got(1)
    for waiting in (1, 2):
        agents.append(await sent(w))
        await until(partial(counted, w, (1, waiting)))
    assert (await (await w.agent()).request("GET", TICKET)).json["reason"] == "ConcurrencyLimit"
    for number, agent in enumerate(agents, 1):
        await held.got(number)
        held.answer()
        assert (await agent.answer()).status == 200
    await until(lambda: len(w.recorded.calls) == 4)
    assert [bool(call.queued_ms) for call in w.recorded.calls] == [False, False, True, True]
    assert counts(w) == (0, 0)


async def test_queue_timeout(w: World) -> None:
    w.install(tool_rules=limited(1, queue=1, queue_timeout_ms=30))
    held = Held(w)
    first = await sent(w)
    await held.got(1)
    late = await (await sent(w)).answer()
    assert (late.status, late.json["reason"]) == (429, "QueueTimeout")
    assert "no slot of the tool came free within 30 ms" in late.json["detail"]
    assert counts(w) == (1, 0)
    held.answer()
    assert (await first.answer()).status == 200
    await held.got(1)


async def test_nobody_waits_longer_than_the_total_time(w: World) -> None:
    """No tool is called for one whose time is over, and it is not the tool's fault."""
    w.install(tool_rules=limited(1, queue=1))
    held = Held(w)
    first = await sent(w)
    await held.got(1)
    w.install(tool_rules=limited(1, queue=1, total_ms=4_000, attempt_ms=4_000, breaker=breaker(1)))
    waiting = await sent(w)
    await until(lambda: counts(w) == (1, 1))
    w.turn(4)
    late = await waiting.answer()
    assert (late.status, late.json["reason"]) == (429, "QueueTimeout")
    assert (await w.recorded_call()).outcome == "refused"
    held.answer()
    assert (await first.answer()).status == 200
    await held.got(1)
    assert not w.recorded.transitions


async def test_case_14_cancelled_while_queued(w: World) -> None:
    w.install(tool_rules=limited(1, queue=2))
    held = Held(w)
    first = await sent(w)
    await held.got(1)
    gone = await sent(w)
    await until(lambda: counts(w) == (1, 1))
    last = await sent(w)
    await until(lambda: counts(w) == (1, 2))
    gone.close()
    await until(lambda: counts(w) == (1, 1))
    record = await w.recorded_call()
    assert (record.reason, record.attempts, record.status) == ("ClientGone", 0, 499)
    held.answer()
    assert (await first.answer()).status == 200
    await held.got(2)
    held.answer()
    assert (await last.answer()).status == 200
    await until(lambda: counts(w) == (0, 0))
    assert len(w.tool.seen) == 2


async def test_case_14_cancelled_while_streaming(w: World) -> None:
    async def streams(exchange: Exchange) -> None:
        await exchange.events(b'data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n')
        await exchange.closed()

    w.install(tool_rules=limited(1, queue=1))
    w.tool.script = streams
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    assert (await agent.head()).status == 200
    waiting = await w.agent()
    await waiting.send("POST", "/kb", tools_call(), MCP_HEADERS)
    await until(lambda: counts(w, "search") == (1, 1))
    agent.close()
    await until(lambda: counts(w, "search") == (1, 0))
    assert (await waiting.head()).status == 200
    waiting.close()
    await until(lambda: counts(w, "search") == (0, 0))
    await until(lambda: len(w.recorded.calls) == 2)
    assert {call.reason for call in w.recorded.calls} == {"ClientGone"}


async def test_a_failed_call_gives_its_slot_back(w: World) -> None:
    async def breaks(exchange: Exchange) -> None:
        exchange.reset()

    w.install(tool_rules=limited(1))
    w.tool.script = breaks
    agent = await w.agent()
    for _ in range(3):
        assert (await agent.request("GET", TICKET)).json["reason"] == "ConnectionReset"
    assert counts(w) == (0, 0)


async def test_a_reload_keeps_who_is_in_flight_and_who_waits(w: World) -> None:
    w.install(tool_rules=limited(2, queue=2))
    held = Held(w)
    agents = [await sent(w) for _ in range(2)]
    await held.got(2)
    agents.append(await sent(w))
    await until(lambda: counts(w) == (2, 1))
    w.install(tool_rules=limited(1, queue=2))
    assert counts(w) == (2, 1)
    held.answer()  # one of two: still as many as are allowed now
    await until(lambda: counts(w) == (1, 1))
    await held.got(2)
    w.install(tool_rules=rules())  # no limit any more: nobody waits
    await held.got(3)
    assert counts(w) == (2, 0)
    held.answer()
    held.answer()
    assert [(await agent.answer()).status for agent in agents] == [200, 200, 200]
    await until(lambda: counts(w) == (0, 0))


async def test_who_waits_finds_the_kill_switch(w: World) -> None:
    w.install(tool_rules=limited(1, queue=2))
    held = Held(w)
    first = await sent(w)
    await held.got(1)
    second, third = await sent(w), await sent(w)
    await until(lambda: counts(w) == (1, 2))
    w.install(tool_rules=limited(1, queue=2, enabled=False))
    held.answer()
    answers = [await agent.answer() for agent in (first, second, third)]
    assert answers[0].status == 200
    assert [answer.json["reason"] for answer in answers[1:]] == ["ToolDisabled"] * 2
    await held.got(1)
    await until(lambda: counts(w) == (0, 0))


async def test_a_tool_at_another_place_begins_anew(w: World) -> None:
    w.install(tool_rules=limited(1))
    held = Held(w)
    first = await sent(w)
    await held.got(1)
    before = slots(w)
    w.install(tool_rules=limited(1), host="localhost")
    assert slots(w) is not before
    assert counts(w) == (0, 0)
    held.answer()
    assert (await first.answer()).status == 200
    await until(lambda: before.in_flight == 0)


async def test_mode_off_limits_nothing_and_counts(w: World) -> None:
    w.install(tool_rules=limited(1), mode="Off")
    held = Held(w)
    agents = [await sent(w) for _ in range(2)]
    await held.got(2)
    assert counts(w) == (2, 0)
    held.answer()
    held.answer()
    assert [(await agent.answer()).status for agent in agents] == [200, 200]


# Of the server


async def unlisted(w: World) -> Agent:
    agent = await w.agent()
    await agent.send("GET", "/api/other")
    return agent


async def test_a_server_has_slots_for_all_its_tools_together(w: World) -> None:
    w.install(tool_rules=limited(9), server_concurrency=Concurrency(1))
    held = Held(w)
    first = await unlisted(w)
    await held.got(1)
    refused = await (await sent(w)).answer()
    assert (refused.status, refused.json["reason"]) == (429, "ConcurrencyLimit")
    assert "all slots of its server api are taken" in refused.json["detail"]
    assert counts(w) == (0, 0)  # the slot of the tool, which it had, is given back
    other = await w.agent()
    await other.send("POST", "/kb", tools_call(), MCP_HEADERS)
    await held.got(2)  # another server has its own
    held.answer()
    held.answer()
    assert [(await agent.answer()).status for agent in (first, other)] == [200, 200]
    await until(lambda: counts(w, None) == (0, 0))


async def test_who_waits_for_the_server_keeps_the_slot_of_the_tool(w: World) -> None:
    w.install(tool_rules=limited(1, queue=1), server_concurrency=Concurrency(1, queue=1))
    held = Held(w)
    first = await unlisted(w)
    await held.got(1)
    second = await sent(w)
    await until(lambda: (counts(w), counts(w, None)) == ((1, 0), (1, 1)))
    third = await sent(w)
    await until(lambda: (counts(w), counts(w, None)) == ((1, 1), (1, 1)))
    for number, agent in enumerate((first, second, third), 1):
        await held.got(number)
        held.answer()
        assert (await agent.answer()).status == 200
    await until(lambda: (counts(w), counts(w, None)) == ((0, 0), (0, 0)))


async def test_case_14_cancelled_while_waiting_for_the_server(w: World) -> None:
    w.install(tool_rules=limited(1), server_concurrency=Concurrency(1, queue=1))
    held = Held(w)
    first = await unlisted(w)
    await held.got(1)
    gone = await sent(w)
    await until(lambda: (counts(w), counts(w, None)) == ((1, 0), (1, 1)))
    gone.close()
    await until(lambda: (counts(w), counts(w, None)) == ((0, 0), (1, 0)))
    w.install(tool_rules=limited(1), server_concurrency=Concurrency(2))
    second = await sent(w)
    await held.got(2)
    assert counts(w, None) == (2, 0)  # the reload knows who was there before
    held.answer()
    held.answer()
    assert [(await agent.answer()).status for agent in (first, second)] == [200, 200]
    await until(lambda: counts(w, None) == (0, 0))


async def test_an_adaptive_limit_learns_from_calls_and_survives_a_reload(w: World) -> None:
    adaptive = rules(concurrency=Concurrency(64, adaptive_min=1))
    w.install(tool_rules=adaptive)
    assert slots(w).limit == START
    agents = [await w.agent() for _ in range(START)]

    async def calls(agent: Agent) -> None:
        while slots(w).limit == START:
            assert (await agent.request("GET", TICKET)).status == 200

    await asyncio.wait_for(asyncio.gather(*map(calls, agents)), HANG_S)
    learned = slots(w).limit
    w.install(tool_rules=adaptive)
    assert slots(w).limit == learned


@pytest.mark.parametrize(
    ("reason", "agent_waited_for", "wanted"),
    [
        (None, False, Sample(0.5)),
        (Reason.AttemptTimeout, False, Sample(0.5, dropped=True)),
        (Reason.AttemptTimeout, True, None),
        (Reason.ConnectRefused, False, None),
    ],
)
def test_what_a_call_says_about_its_tool(
    reason: Reason | None, agent_waited_for: bool, wanted: Sample | None
) -> None:
    progress = Progress()
    assert sample_of(progress) is None  # nothing was tried
    progress.attempts, progress.upstream_s = 1, 0.5
    if reason:
        progress.failed(Problem(reason, ""), agent_waited_for=agent_waited_for)
    assert sample_of(progress) == wanted
    progress.result = classify.of_status(429, rules())
    assert sample_of(progress) == Sample(0.5, dropped=True)
    progress.attempts, progress.result = 2, classify.SUCCESS
    assert sample_of(progress) is None


def gauges(w: World) -> dict[tuple[str, str], float]:
    """(metric, tool or server) → value."""
    text = Metrics(w.current).text().decode()
    return {
        (sample.name, sample.labels.get("tool", sample.labels["server"])): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(("toolpolicy_tool_c", "toolpolicy_server_c"))
    }


async def test_gauges(w: World) -> None:
    w.install(tool_rules=limited(1, queue=3), server_concurrency=Concurrency(5))
    held = Held(w)
    agents = [await sent(w) for _ in range(3)]
    await until(lambda: counts(w) == (1, 2))
    found = gauges(w)
    assert found["toolpolicy_tool_calls_in_flight", "ticket"] == 1
    assert found["toolpolicy_tool_calls_queued", "ticket"] == 2
    assert found["toolpolicy_tool_concurrency_limit", "ticket"] == 1
    assert ("toolpolicy_tool_concurrency_limit", "*") not in found
    assert found["toolpolicy_server_calls_in_flight", "api"] == 1
    assert found["toolpolicy_server_concurrency_limit", "api"] == 5
    for number in range(1, 4):
        await held.got(number)
        held.answer()
    for agent in agents:
        await agent.answer()
    await until(lambda: counts(w) == (0, 0))
    assert gauges(w)["toolpolicy_tool_calls_in_flight", "ticket"] == 0
