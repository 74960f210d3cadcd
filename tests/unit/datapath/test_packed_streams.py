"""Event streams that a server has packed, looked into as they come and never unpacked beyond a limit."""

import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable

import pytest

from tests.unit.datapath.loopback import Exchange, World, redaction, world
from toolpolicy_sidecar.cleanse import Inflater
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.problem import Stopped

LIMIT_BYTES = 1024 * 1024
TICKET = "/api/v1/tickets/5"


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world(Limits(body_bytes=LIMIT_BYTES)) as made:
        made.install(redaction=redaction())
        yield made


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("size", [1, 7, 4096])
async def test_a_packed_stream_is_redacted(
    w: World, encoding: str, pack: Callable[[bytes], bytes], size: int
) -> None:
    packed = pack(b"data: a sk-canary12345678\n\n" * 3)

    async def says(exchange: Exchange) -> None:
        pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
        await exchange.events(*pieces, Content_Encoding=encoding)
        await exchange.end()

    w.tool.script = says
    answer = await (await w.agent()).request("GET", TICKET)
    assert b"canary" not in answer.body
    assert b"[key]" in answer.body.replace(b"\n\ndata: ", b"")
    assert answer.body.count(b"\n\n") >= 3
    assert answer.header("Content-Encoding") is None


async def test_a_bomb_in_a_stream(w: World) -> None:
    bomb = gzip.compress(b"data: " + bytes(64 * 2**20), 9)

    async def says(exchange: Exchange) -> None:
        await exchange.events(bomb, Content_Encoding="gzip")
        await exchange.end()

    w.tool.script = says
    agent = await w.agent()
    tracemalloc.start()
    answer = await agent.request("GET", TICKET)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"\n64 MiB bomb in a stream under a limit of 1 MiB: {peak_bytes / 2**20:.2f} MiB at most")
    assert (answer.status, answer.json["reason"]) == (502, "AnswerTooLarge")
    assert peak_bytes < 16 * LIMIT_BYTES
    assert (await w.recorded_call()).reason == "AnswerTooLarge"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
async def test_a_stream_that_nobody_can_unpack(w: World, encoding: str) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.events(b"data: sk-canary12345678\n\n", Content_Encoding=encoding)
        await exchange.end()

    w.tool.script = says
    answer = await (await w.agent()).request("GET", TICKET)
    assert (answer.status, answer.json["reason"]) == (502, "AnswerEncodingUnsupported")


def test_a_step_gives_no_more_than_the_limit() -> None:
    inflater = Inflater("gzip", LIMIT_BYTES)
    with pytest.raises(Stopped):
        inflater.feed(gzip.compress(bytes(64 * 2**20), 9))
    with pytest.raises(Stopped):
        Inflater("gzip", LIMIT_BYTES).feed(b"no gzip at all")
    assert not Inflater("gzip", LIMIT_BYTES).idle
    assert Inflater("identity", LIMIT_BYTES).feed(b"as it is") == b"as it is"
