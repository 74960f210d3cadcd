"""Time in which the agent was waited for is not the tool's: slow calls are those of slow tools."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.hands import Turned
from tests.unit.datapath.loopback import Agent, Exchange, Recorded, Tool, World, breaker, rules, until
from toolpolicy_api import snapshot
from toolpolicy_sidecar.call import Reply, ToolCall
from toolpolicy_sidecar.listeners.reverse import ReverseListener
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.runtime import Current, Limits
from toolpolicy_sidecar.upstream.pool import Pool

SLOW_OVER_S = 100
WAITED_S = 200
SIZE = 30_000_000
"""Far over what sockets buffer."""


class Seen(Pipeline):
    """A pipeline whose calls can be looked at while they run."""

    call_now: ToolCall
    reply_now: Reply

    async def call(self, call: ToolCall, reply: Reply) -> None:
        self.call_now, self.reply_now = call, reply
        await super().call(call, reply)


class Place:
    """The data path of `loopback.world`, with these two in it."""

    def __init__(self, world: World, clock: Turned, pipeline: Seen) -> None:
        self.world, self.clock, self.pipeline = world, clock, pipeline


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    limits = Limits(request_s=10_000)
    tool, clock, recorded, pool = Tool(), Turned(), Recorded(), Pool()
    await tool.start()
    current = Current(recorder=recorded, clock=clock)
    pipeline = Seen(pool, limits, clock, recorded)
    listener = ReverseListener(current, pipeline, limits, clock, recorded)
    port = await listener.start("127.0.0.1", 0)
    world = World(port, current, listener, recorded, pool, tool, pipeline, clock)
    slow = snapshot.SlowCall(over_ms=SLOW_OVER_S * 1000, percent=100)
    rates = snapshot.CallRates(minimum_calls=1, calls=1, slow_call=slow)
    world.install(tool_rules=rules(total_ms=1_000_000, attempt_ms=1_000_000, breaker=breaker(rates=rates)))
    yield Place(world, clock, pipeline)
    for agent in world.agents:
        agent.close()
    await listener.close()
    await pipeline.close()
    await pool.close()
    await tool.stop()


async def download(exchange: Exchange) -> None:
    await exchange.answer(200, bytes(SIZE), "application/octet-stream")


async def test_an_agent_that_reads_slowly_does_not_make_its_tool_slow(place: Place) -> None:
    place.world.tool.script = download
    agent = Agent(place.world.port, *await asyncio.open_connection("127.0.0.1", place.world.port))
    place.world.agents.append(agent)
    await agent.send("GET", "/api/v1/tickets/1")
    await until(lambda: hasattr(place.pipeline, "reply_now") and place.pipeline.reply_now.waiting)
    place.clock.ahead_s = WAITED_S
    assert len((await agent.answer()).body) == SIZE
    record = await place.world.recorded_call()
    assert record.duration_ms > WAITED_S * 1000
    assert place.world.recorded.transitions == []


async def test_an_agent_that_sends_slowly_does_not_make_its_tool_slow(place: Place) -> None:
    agent = await place.world.agent()
    head = [("Transfer-Encoding", "chunked")]
    await agent.send("POST", "/api/v1/tickets/1", b"3\r\none\r\n", head)
    await until(lambda: place.world.tool.connections and place.pipeline.call_now.incoming.body.waiting)
    place.clock.ahead_s = WAITED_S
    await agent.raw(b"0\r\n\r\n")
    assert (await agent.answer()).status == 200
    record = await place.world.recorded_call()
    assert record.duration_ms > WAITED_S * 1000
    assert place.world.recorded.transitions == []


async def test_a_tool_that_takes_the_same_time_is_slow(place: Place) -> None:
    async def late(exchange: Exchange) -> None:
        place.clock.ahead_s = WAITED_S
        await exchange.answer(200, b"{}")

    place.world.tool.script = late
    agent = await place.world.agent()
    assert (await agent.request("GET", "/api/v1/tickets/1")).status == 200
    await place.world.recorded_call()
    assert [each.reason for each in place.world.recorded.transitions] == ["100% of 1 calls took over 1m40s"]
