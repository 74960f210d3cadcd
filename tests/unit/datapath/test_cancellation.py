"""What the agent takes back: by hanging up, and in a session of the handshake era by `notifications/cancelled`."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.datapath.loopback import (
    MCP_HEADERS,
    Agent,
    Exchange,
    World,
    retry,
    rules,
    tools_call,
    until,
    world,
)
from tests.unit.datapath.test_hedging import hedged
from toolpolicy_api.snapshot import Concurrency

SESSION = [*MCP_HEADERS, ("Mcp-Session-Id", "mine"), ("MCP-Protocol-Version", "2025-11-25")]


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


class Server:
    """Its tools hang; `closed`: the ids of calls whose connections were closed."""

    def __init__(self, w: World) -> None:
        self.closed: list[Any] = []
        w.tool.script = self._script

    async def _script(self, exchange: Exchange) -> None:
        if exchange.seen.method == "POST" and "id" not in exchange.seen.json:
            await exchange.answer(202, b"", "")
            return
        await exchange.closed()
        self.closed.append(exchange.seen.json["id"] if exchange.seen.body else exchange.seen.method)


async def called(w: World, identifier: Any = 7) -> Agent:
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(identifier=identifier), SESSION)
    return agent


async def taken_back(w: World, identifier: bytes = b"7", session: str = "mine") -> None:
    body = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b}}' % identifier
    headers = [*MCP_HEADERS, ("Mcp-Session-Id", session)]
    assert (await (await w.agent()).request("POST", "/kb", body, headers)).status == 202


def calls(w: World) -> list[Any]:
    return [seen.json["id"] for seen in w.tool.seen if b"tools/call" in seen.body]


def cancelled(w: World) -> list[Any]:
    return [seen.json["params"]["requestId"] for seen in w.tool.seen if b"cancelled" in seen.body]


async def test_a_call_that_waits_for_a_slot_is_not_made(w: World) -> None:
    w.install(tool_rules=rules(concurrency=Concurrency(max=1, queue=2, queue_timeout_ms=10_000)))
    Server(w)
    await called(w, 1)
    await until(lambda: len(w.tool.seen) == 1)
    waits = await called(w, "a\u00e9")
    assert w.current.runtime
    slots = next(each for each in w.current.runtime.slots.values() if each.in_flight)
    await until(lambda: slots.waiting == 1)
    await taken_back(w, b'"another"')
    await taken_back(w, b'"a\\u00e9"', session="another")
    assert slots.waiting == 1
    await taken_back(w, b'"a\\u00e9"')
    assert "the agent has taken it back" in (await waits.answer()).text
    record = await w.recorded_call()
    assert (record.outcome, record.reason, record.attempts) == ("neutral", "ClientGone", 0)
    assert (slots.waiting, slots.in_flight, calls(w)) == (0, 1, [1])
    assert w.pipeline._canceller._waiting == {}


async def test_a_call_that_waits_for_its_next_attempt_is_not_made_again(w: World) -> None:
    waits = retry(backoff_base_ms=8_000, backoff_max_ms=9_000)
    w.install(tool_rules=rules(retry=waits))

    async def resets(exchange: Exchange) -> None:
        if b"tools/call" in exchange.seen.body:
            exchange.reset()
        else:
            await exchange.answer(202, b"", "")

    w.tool.script = resets
    agent = await called(w)
    await until(lambda: w.pipeline._canceller._waiting)
    await taken_back(w)
    assert "the agent has taken it back" in (await agent.answer()).text
    record = await w.recorded_call()
    assert (record.outcome, record.reason, record.attempts) == ("neutral", "ClientGone", 1)


async def test_both_attempts_of_a_race_hear_of_it(w: World) -> None:
    hedged(w)
    server = Server(w)
    agent = await called(w)
    await until(lambda: len(calls(w)) == 2)
    await taken_back(w)
    await until(lambda: len(cancelled(w)) == 2)
    assert sorted(map(str, cancelled(w))) == sorted(map(str, calls(w)))
    agent.close()
    await until(lambda: len(server.closed) == 2)
    await until(lambda: w.pipeline._canceller._sent_as == {})


LISTEN = b'{"jsonrpc":"2.0","id":3,"method":"subscriptions/listen","params":{}}'


@pytest.mark.parametrize(
    ("method", "body"),
    [("POST", tools_call()), ("POST", LISTEN), ("GET", None)],
    ids=["call", "listen", "get"],
)
@pytest.mark.parametrize("begun", [False, True])
async def test_an_agent_that_hangs_up_closes_the_servers_end(
    w: World, method: str, body: bytes | None, *, begun: bool
) -> None:
    closed = asyncio.Event()

    async def streams(exchange: Exchange) -> None:
        if begun:
            await exchange.events(b'data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n')
        await exchange.closed()
        closed.set()

    w.tool.script = streams
    agent = await w.agent()
    await agent.send(method, "/kb", body, [*MCP_HEADERS, ("MCP-Protocol-Version", "2026-07-28")])
    await until(lambda: w.tool.seen)
    if begun:
        await agent.head()
    agent.close()
    async with asyncio.timeout(20):
        await closed.wait()


async def test_a_cancellation_by_the_server_reaches_the_agent_in_its_stream(w: World) -> None:
    """Of a request of the server's own, such as sampling."""
    note = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"s1"}}'

    async def says(exchange: Exchange) -> None:
        await exchange.events(b"data: " + note + b"\n\n", b"data: " + exchange.message() + b"\n\n")
        await exchange.end()

    w.tool.script = says
    answer = await (await w.agent()).request("POST", "/kb", tools_call(), SESSION)
    assert answer.body.startswith(b"data: " + note + b"\n\n")
    assert json.loads(answer.body.split(b"data: ")[2])["id"] == 7
