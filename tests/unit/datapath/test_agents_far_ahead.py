"""Requests that an agent sends before it has the answer to the first (RFC 9112, 9.3.2: pipelining): it is read from
no further than a few of them ahead, and none is lost."""

import asyncio
from collections.abc import Callable

import pytest

from tests.unit.datapath.loopback import HANG_S, Exchange, world

REQUESTS = 500
SIZE = 48_000
"""Of each: together far over what sockets buffer."""
QUIET_S = 0.3
"""For this long nothing more was read."""


def get(number: int) -> bytes:
    return b"GET /api/%d HTTP/1.1\r\nHost: x\r\nX-Long: %b\r\n\r\n" % (number, SIZE * b"a")


def post(number: int) -> bytes:
    return b"POST /api/%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (number, SIZE, SIZE * b"a")


@pytest.mark.parametrize("made", [get, post])
async def test_an_agent_is_read_no_further_than_a_few_requests_ahead(made: Callable[[int], bytes]) -> None:
    go = asyncio.Event()

    async def first_waits(exchange: Exchange) -> None:
        await go.wait()
        await exchange.answer(200, exchange.seen.target.encode())

    async with world() as w:
        w.tool.script = first_waits
        agent = await w.agent()
        for number in range(REQUESTS):
            agent.writer.write(made(number))
        unsent = agent.writer.transport.get_write_buffer_size
        left, before = unsent(), -1
        while left != before:
            await asyncio.sleep(QUIET_S)
            left, before = unsent(), left
        assert left > 0
        go.set()
        async with asyncio.timeout(HANG_S):
            bodies = [(await agent.answer()).body for _ in range(REQUESTS)]
        assert bodies == [b"/base/%d" % number for number in range(REQUESTS)]
