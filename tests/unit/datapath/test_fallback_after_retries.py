"""A fallback answers when the retries are over, and says nothing before."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import Exchange, World, rules, until, world
from toolpolicy_api.snapshot import CachedFallback, Retry, StaticFallback

TICKET = "/api/v1/tickets/5"
RETRY = Retry(
    max_attempts=3,
    backoff_base_ms=1,
    backoff_max_ms=1,
    on=("Connect", "Timeout", "ServerError", "Throttled"),
    idempotent=True,
)


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


async def down(exchange: Exchange) -> None:
    await exchange.answer(503, b"down")


@pytest.mark.parametrize("protocol", ["MCP", "HTTP"])
async def test_after_the_last_attempt(w: World, protocol: str) -> None:
    w.install(tool_rules=rules(fallback=StaticFallback("instead"), retry=RETRY))
    w.tool.script = down
    agent = await w.agent()
    if protocol == "MCP":
        assert (await agent.call()).json["result"]["content"][0]["text"] == "instead"
    else:
        assert (await agent.request("GET", TICKET)).body == b"instead"
    record = await w.recorded_call()
    assert (record.attempts, record.reason, record.fallback) == (3, "ServerError", "Static")


async def test_a_success_of_the_second_attempt_is_the_tools_own(w: World) -> None:
    async def once(exchange: Exchange) -> None:
        if len(w.tool.seen) == 1:
            await down(exchange)
        else:
            await exchange.result("own")

    w.install(tool_rules=rules(fallback=CachedFallback(60_000), retry=RETRY))
    w.tool.script = once
    agent = await w.agent()
    first = (await agent.call()).json["result"]
    assert (first["content"][0]["text"], "_meta" in first) == ("own", False)
    w.tool.script = down
    again = (await agent.call()).json
    assert again["id"] == 7
    assert again["result"]["_meta"]["toolpolicy.dev/fallback"] == "Cached"


async def test_a_long_retry_after_is_not_waited_for(w: World) -> None:
    async def later(exchange: Exchange) -> None:
        await exchange.answer(503, b"down", Retry_After="3600")

    w.install(tool_rules=rules(fallback=StaticFallback("instead"), retry=RETRY))
    w.tool.script = later
    assert (await (await w.agent()).request("GET", TICKET)).body == b"instead"
    assert (await w.recorded_call()).attempts == 1


async def test_a_tool_that_is_left_alone_after_a_429(w: World) -> None:
    async def busy(exchange: Exchange) -> None:
        await exchange.answer(429, b"busy", Retry_After="30")

    w.install(tool_rules=rules(fallback=CachedFallback(60_000)))
    agent = await w.agent()
    await agent.request("POST", TICKET, b"query")
    w.tool.script = busy
    for _ in range(2):
        answer = await agent.request("POST", TICKET, b"query")
        assert (answer.status, answer.header("Toolpolicy-Reason")) == (200, "Throttled")
    await until(lambda: len(w.recorded.calls) == 3)
    assert [record.outcome for record in w.recorded.calls] == ["success", "failure", "refused"]
    assert len(w.tool.seen) == 2
