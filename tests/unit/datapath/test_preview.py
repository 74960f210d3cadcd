"""What stricter redaction would find in sampled calls: counts beside the calls, which stay as they are."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import Exchange, World, redaction, until
from tests.unit.datapath.loopback import world as started_world
from toolpolicy_api import snapshot
from toolpolicy_sidecar.preview import KEPT_BYTES, Previewed, Previews

MAIL = "jane.doe@example.com"
SECRET = "sk-canary12345678"
ALL = snapshot.Preview(percent=100, detectors=("PII",))


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with started_world() as world:
        yield world


def told(w: World) -> list[Previewed]:
    found: list[Previewed] = []
    w.pipeline._previews = Previews(found.append)
    return found


@pytest.mark.parametrize("mode", ["Enforce", "Shadow"])
async def test_of_both_directions_after_the_redaction_in_force(w: World, mode: snapshot.Mode) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.result(f"write to {MAIL} with {SECRET}")

    w.tool.script, found = says, told(w)
    w.install(redaction=redaction(), preview=ALL, mode=mode)
    answer = await (await w.agent()).call(query=f"{MAIL} or {MAIL}")
    assert MAIL.encode() in answer.body
    assert MAIL.encode() in w.tool.seen[0].body
    await until(lambda: found)
    hits = {"Request": {"Email": 2}, "Response": {"Email": 1}}
    assert found == [("support/agent", "kb", "search", hits)]
    record = await w.recorded_call()
    assert "Email" not in {**record.redacted_request, **record.redacted_response}


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/event-stream"])
async def test_of_http_tools(w: World, kind: str) -> None:
    async def says(exchange: Exchange) -> None:
        body = f"data: {MAIL}\n\n" if "event" in kind else f'"{MAIL}"'
        await exchange.answer(200, body.encode(), kind)

    w.tool.script, found = says, told(w)
    w.install(preview=ALL)
    agent = await w.agent()
    await agent.request(
        "POST", f"/api/v1/tickets/5?mail={MAIL}", MAIL.encode(), [("Content-Type", "text/plain")]
    )
    await until(lambda: found)
    assert found[0].found == {"Request": {"Email": 2}, "Response": {"Email": 1}}


async def test_only_the_share_that_is_asked_for(w: World) -> None:
    class Dice(random.Random):
        def random(self) -> float:
            return 0.5

    found = told(w)
    w.pipeline._means = w.pipeline._means._replace(rng=Dice())
    agent = await w.agent()
    for percent, count in ((50, 0), (51, 1)):
        w.install(preview=snapshot.Preview(percent=percent, detectors=("Email",)))
        await agent.call(query=MAIL)
        await asyncio.sleep(0)
        if count:
            await until(lambda: found)
        assert len(found) == count
    w.install(preview=ALL, mode="Off")
    await agent.call(query=MAIL)
    assert len(found) == 1


async def test_what_is_large_or_cannot_be_read_is_left_out(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, b"x" * (KEPT_BYTES + 1), "text/plain")

    w.tool.script, found = says, told(w)
    w.install(preview=ALL)
    agent = await w.agent()
    body = b"\x89PNG " + MAIL.encode()
    answer = await agent.request("POST", "/api/v1/tickets/5", body, [("Content-Type", "image/png")])
    assert len(answer.body) == KEPT_BYTES + 1
    await until(lambda: found)
    assert found[0].found == {"Request": {}}


async def test_one_at_a_time(w: World) -> None:
    found = told(w)
    w.install(preview=ALL)
    busy = asyncio.get_running_loop().create_future()
    previews = w.pipeline._previews
    assert previews is not None
    previews._looking = asyncio.ensure_future(asyncio.wait_for(busy, 10))
    await (await w.agent()).call(query=MAIL)
    await w.recorded_call()
    busy.set_result(None)
    await previews._looking
    assert not found
