"""Time in which the agent was waited for is not the tool's: slow calls are those of slow tools."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import Agent, Exchange, World, bare, breaker, rules, until
from toolpolicy_api import snapshot
from toolpolicy_sidecar.call import Reply, ToolCall
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.pipeline import Pipeline

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


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with bare(Limits(request_s=10_000), made_by=Seen) as made:
        slow = snapshot.SlowCall(over_ms=SLOW_OVER_S * 1000, percent=100)
        rates = snapshot.CallRates(minimum_calls=1, calls=1, slow_call=slow)
        made.install(tool_rules=rules(total_ms=1_000_000, attempt_ms=1_000_000, breaker=breaker(rates=rates)))
        yield made


def seen(w: World) -> Seen:
    assert isinstance(w.pipeline, Seen)
    return w.pipeline


async def download(exchange: Exchange) -> None:
    await exchange.answer(200, bytes(SIZE), "application/octet-stream")


async def test_an_agent_that_reads_slowly_does_not_make_its_tool_slow(w: World) -> None:
    w.tool.script = download
    agent = Agent(w.port, *await asyncio.open_connection("127.0.0.1", w.port))
    w.agents.append(agent)
    await agent.send("GET", "/api/v1/tickets/1")
    await until(lambda: hasattr(seen(w), "reply_now") and seen(w).reply_now.waiting)
    w.clock.ahead_s = WAITED_S
    assert len((await agent.answer()).body) == SIZE
    record = await w.recorded_call()
    assert record.duration_ms > WAITED_S * 1000
    assert w.recorded.transitions == []


async def test_an_agent_that_sends_slowly_does_not_make_its_tool_slow(w: World) -> None:
    agent = await w.agent()
    head = [("Transfer-Encoding", "chunked")]
    await agent.send("POST", "/api/v1/tickets/1", b"3\r\none\r\n", head)
    await until(lambda: w.tool.connections and seen(w).call_now.incoming.body.waiting)
    w.clock.ahead_s = WAITED_S
    await agent.raw(b"0\r\n\r\n")
    assert (await agent.answer()).status == 200
    record = await w.recorded_call()
    assert record.duration_ms > WAITED_S * 1000
    assert w.recorded.transitions == []


async def test_a_tool_that_takes_the_same_time_is_slow(w: World) -> None:
    async def late(exchange: Exchange) -> None:
        w.clock.ahead_s = WAITED_S
        await exchange.answer(200, b"{}")

    w.tool.script = late
    agent = await w.agent()
    assert (await agent.request("GET", "/api/v1/tickets/1")).status == 200
    await w.recorded_call()
    assert [each.reason for each in w.recorded.transitions] == ["100% of 1 calls took over 1m40s"]
