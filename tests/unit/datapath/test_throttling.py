"""A tool that answers 429 is left alone: the gate over real sockets."""

import time
from collections.abc import AsyncIterator
from email.utils import formatdate

import pytest

from tests.unit.datapath.loopback import Exchange, World, breaker, fine, retry, rules, until, world
from tests.unit.datapath.test_reasons_end_to_end import problem
from tests.unit.datapath.test_retries import TICKET, first, says
from toolpolicy_sidecar.reasons import Reason


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        made.install(tool_rules=rules(breaker=breaker(1)))
        yield made


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("30", 25, 30),
        ("in 40 s", 20, 40),
        ("when it suits", 1, 1),
        (None, 1, 1),
        ("864000", 55, 60),
    ],
    ids=["seconds", "HTTP date", "malformed", "missing", "too long"],
)
async def test_case_13_a_429_shuts_the_gate_and_opens_no_circuit(
    w: World, header: str | None, least: int, most: int
) -> None:
    if header == "in 40 s":
        header = formatdate(time.time() + 40, usegmt=True)
    more = {} if header is None else {"Retry_After": header}
    w.tool.script = says(429, **more)
    agent = await w.agent()
    answer = await agent.request("GET", TICKET)
    assert (answer.status, answer.json, answer.header("Retry-After")) == (429, {"why": "so"}, header)
    refused = await agent.request("GET", TICKET)
    assert "asked for a pause" in problem(refused, Reason.Throttled)
    assert least <= int(refused.header("Retry-After") or 0) <= most
    assert len(w.tool.seen) == 1
    assert w.recorded.transitions == []
    await until(lambda: len(w.recorded.calls) == 2)
    assert [(call.outcome, call.reason, call.attempts) for call in w.recorded.calls] == [
        ("failure", "Throttled", 1),
        ("refused", "Throttled", 0),
    ]


async def test_a_model_reads_when_to_try_again(w: World) -> None:
    w.tool.script = says(429, Retry_After="30")
    agent = await w.agent()
    assert (await agent.call()).status == 429  # the tool's own answer passes
    refused = await agent.call()
    assert "search takes no more calls for now" in refused.text
    assert "Try again in" in refused.text
    assert refused.meta["toolpolicy.dev/reason"] == "Throttled"
    assert 25 <= refused.meta["toolpolicy.dev/retryAfterSeconds"] <= 30


async def test_other_tools_of_the_server_are_not_held_back(w: World) -> None:
    w.tool.script = says(429, Retry_After="30")
    agent = await w.agent()
    assert (await agent.request("GET", TICKET)).status == 429
    w.tool.script = fine
    assert (await agent.request("GET", "/api/other")).status == 200
    assert (await agent.call()).status == 200


async def test_a_reload_keeps_the_gate_shut_and_a_reset_opens_it(w: World) -> None:
    w.tool.script = first(says(429, Retry_After="30"))
    agent = await w.agent()
    await agent.request("GET", TICKET)
    w.install(tool_rules=rules(breaker=breaker(5)))
    problem(await agent.request("GET", TICKET), Reason.Throttled)
    assert w.current.runtime
    w.current.runtime.circuit("ticket").reset()
    assert (await agent.request("GET", TICKET)).status == 200


async def test_no_time_to_wait_is_no_pause(w: World) -> None:
    w.tool.script = first(says(429, Retry_After="0"))
    agent = await w.agent()
    assert [(await agent.request("GET", TICKET)).status for _ in range(2)] == [429, 200]


async def test_a_503_with_a_time_is_a_failure_and_shuts_the_gate(w: World) -> None:
    w.tool.script = first(says(503, Retry_After="30"))
    agent = await w.agent()
    assert (await agent.request("GET", TICKET)).status == 503
    refused = await agent.request("GET", TICKET)
    problem(refused, Reason.Throttled)
    assert 20 <= int(refused.header("Retry-After") or 0) <= 30
    assert len(w.tool.seen) == 1


@pytest.mark.parametrize("more", [{}, {"Retry_After": "when it suits"}], ids=["none", "malformed"])
async def test_a_503_without_a_time_shuts_no_gate(w: World, more: dict[str, str]) -> None:
    w.install()
    w.tool.script = first(says(503, **more))
    agent = await w.agent()
    assert [(await agent.request("GET", TICKET)).status for _ in range(2)] == [503, 200]


async def test_a_retry_waits_for_the_gate(w: World) -> None:
    """Meanwhile everyone else is refused."""
    w.install(tool_rules=rules(retry=retry()))
    times: list[float] = []

    async def once(exchange: Exchange) -> None:
        times.append(time.monotonic())
        await (says(429) if len(times) == 1 else fine)(exchange)

    w.tool.script = once
    agent, other = await w.agent(), await w.agent()
    await agent.send("GET", TICKET)
    await until(
        lambda: w.current.runtime and w.current.runtime.circuit("ticket").throttle.left_s(time.monotonic())
    )
    problem(await other.request("GET", TICKET), Reason.Throttled)
    assert (await agent.answer()).status == 200
    assert times[1] - times[0] >= 1.0
    assert w.recorded.transitions == []
