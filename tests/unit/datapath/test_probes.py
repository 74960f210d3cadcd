"""Half-open circuits under real calls: whose fault a probe's end is, and what a reload leaves alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import (
    MCP_HEADERS,
    Exchange,
    Script,
    World,
    breaker,
    fine,
    rules,
    tools_call,
    until,
    world,
)

SOON = breaker(1, open_for_ms=1)
"""Half-open a moment after it opened."""
LIMITS = breaker(1, open_for_ms=60_000)
"""A probe is waited for."""


@pytest.fixture
async def half_open() -> AsyncIterator[World]:
    """The next call is a probe."""
    async with world() as made:
        made.install(tool_rules=rules(breaker=SOON))
        made.tool.script = broken
        assert (await (await made.agent()).call()).meta["toolpolicy.dev/reason"] == "ServerError"
        made.install(tool_rules=rules(breaker=LIMITS))
        await asyncio.sleep(0.002)
        yield made


async def broken(exchange: Exchange) -> None:
    await exchange.answer(500, b"")


async def hanging(exchange: Exchange) -> None:
    await exchange.closed()


async def streaming(exchange: Exchange) -> None:
    await exchange.events(b": begun\n\n")
    await exchange.closed()


def states(made: World) -> list[str]:
    return [each.after for each in made.recorded.transitions]


@pytest.mark.parametrize("script", [hanging, streaming])
async def test_case_03_an_agent_that_hangs_up_frees_the_probes_slot(half_open: World, script: Script) -> None:
    half_open.tool.script = script
    agent = await half_open.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    await until(lambda: len(half_open.tool.seen) == 2)
    if script is streaming:
        await agent.head()
    beside = await (await half_open.agent()).call()
    assert beside.meta["toolpolicy.dev/reason"] == "CircuitOpen"
    agent.close()
    assert (await half_open.recorded_call(3)).status == 499
    half_open.tool.script = fine
    assert "error" not in (await (await half_open.agent()).call()).json
    assert states(half_open) == ["Open", "HalfOpen", "Closed"]


async def test_case_15_a_reload_while_a_probe_is_in_flight_keeps_it(half_open: World) -> None:
    go_on = asyncio.Event()

    async def waiting(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.result()

    half_open.tool.script = waiting
    agent = await half_open.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    await until(lambda: len(half_open.tool.seen) == 2)
    half_open.install(tool_rules=rules(breaker=breaker(5, open_for_ms=60_000)))
    beside = await (await half_open.agent()).call()
    assert beside.meta["toolpolicy.dev/reason"] == "CircuitOpen"
    go_on.set()
    assert (await agent.answer()).status == 200
    await half_open.recorded_call(3)
    assert states(half_open) == ["Open", "HalfOpen", "Closed"]


async def test_a_breaker_taken_away_and_given_back_hears_nothing_of_older_calls() -> None:
    async with world() as made:
        made.install(tool_rules=rules(breaker=breaker(1)))
        go_on = asyncio.Event()

        async def late(exchange: Exchange) -> None:
            await go_on.wait()
            await broken(exchange)

        made.tool.script = late
        agent = await made.agent()
        await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
        await until(lambda: made.tool.seen)
        made.install(tool_rules=rules())
        made.install(tool_rules=rules(breaker=breaker(1)))
        go_on.set()
        assert (await agent.answer()).meta["toolpolicy.dev/reason"] == "ServerError"
        await made.recorded_call()
        assert states(made) == []
