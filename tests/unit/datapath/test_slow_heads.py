"""Agents that send the head of a request slowly, or without an end, are hung up on, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.unit.datapath.loopback import HANG_S, Agent, World, rules, world
from toolpolicy_sidecar.limits import Limits

START = b"GET /api/x HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world(Limits(head_s=10, keep_alive_s=1_000_000, header_bytes=4096)) as made:
        yield made


async def trickle(agent: Agent) -> None:
    with suppress(ConnectionError):
        for _ in range(1000):
            await agent.raw(b"X")
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("start", [b"GET /api/x", START])
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("second", [False, True])
async def test_a_head_that_does_not_end(w: World, start: bytes, goes_on: bool, second: bool) -> None:
    agent = await w.agent()
    if second:
        assert (await agent.request("GET", "/api/x")).status == 200
    await agent.raw(start)
    going_on = asyncio.ensure_future(trickle(agent)) if goes_on else None
    answering = asyncio.ensure_future(agent.answer())
    await w.turn_until(10, lambda: w.recorded.refusals)
    answer = await answering
    assert (answer.status, answer.json["reason"]) == (408, "RequestTimeout")
    assert "10 s" in answer.json["detail"]
    assert answer.header("Connection") == "close"
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(agent.reader.readexactly(1), HANG_S)
    if going_on:
        going_on.cancel()
    assert [refusal.reason for refusal in w.recorded.refusals] == ["RequestTimeout"]
    assert len(w.tool.seen) == second


async def test_hundreds_of_them_disturb_nobody(w: World) -> None:
    slow = [await w.agent() for _ in range(300)]
    for agent in slow:
        await agent.raw(START)
    good = await w.agent()
    assert (await good.request("GET", "/api/x")).status == 200
    await w.turn_until(10, lambda: len(w.recorded.refusals) == 300)
    assert (await good.request("GET", "/api/x")).status == 200


async def test_a_head_in_pieces_that_ends_in_time(w: World) -> None:
    agent = await w.agent()
    for _ in range(2):
        for byte in START + b"\r\n":
            await agent.raw(bytes([byte]))
            await asyncio.sleep(0)
        assert (await agent.answer()).status == 200
    assert len(w.tool.seen) == 2


async def test_waiting_for_the_next_request_is_not_slow(w: World) -> None:
    agent, silent = await w.agent(), await w.agent()
    assert (await agent.request("GET", "/api/x")).status == 200
    w.turn(20)
    await asyncio.sleep(0.05)
    for one in (agent, silent):
        assert (await one.request("GET", "/api/x")).status == 200


async def test_a_body_in_pieces_is_no_head(w: World) -> None:
    w.install(unlisted=rules(total_ms=60_000, attempt_ms=60_000))
    agent = await w.agent()
    await agent.send("POST", "/api/x", None, [("Content-Length", "30")])
    for _ in range(30):
        await agent.raw(b"x")
        w.turn(0.5)
        await asyncio.sleep(0.002)
    assert (await agent.answer()).status == 200


@pytest.mark.parametrize("piece", [50, 2**20])
@pytest.mark.parametrize(("size", "status"), [(4096 - 200, 200), (4096 + 100, 431), (100_000, 431)])
async def test_all_headers_together_have_a_limit(w: World, size: int, status: int, piece: int) -> None:
    """However they are cut: none of them alone is over it."""
    agent = await w.agent()
    line = b"X-A: " + b"a" * 89 + b"\r\n"
    raw = START + line * (size // len(line)) + b"\r\n"
    try:
        for at in range(0, len(raw), piece):
            await agent.raw(raw[at : at + piece])
            await asyncio.sleep(0)
        assert (await agent.answer()).status == status
    except ConnectionError:  # what is not read any more resets the connection
        assert status == 431
        assert [refusal.reason for refusal in w.recorded.refusals] == ["HeaderTooLarge"]
    assert len(w.tool.seen) == (status == 200)


@pytest.mark.parametrize("line", [b"X-A: " + b"a" * 89 + b"\r\n", b"X-A: a" + b" " * 88 + b"\r\n"])
async def test_what_has_come_is_enough_to_refuse(w: World, line: bytes) -> None:
    """In one piece, with spaces or without, and before its end or the time for it."""
    agent = await w.agent()
    await agent.raw(START + line * (4096 // len(line) + 3))
    assert (await agent.answer()).status == 431  # 408 is for one that is late
    assert [refusal.reason for refusal in w.recorded.refusals] == ["HeaderTooLarge"]


async def test_a_large_body_after_a_small_head(w: World) -> None:
    agent = await w.agent()
    for _ in range(2):
        assert (await agent.request("POST", "/api/x", b"x" * 100_000)).status == 200
