"""A second attempt beside a late first one, over real sockets: one answer, and nothing left of the other."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.unit.datapath.loopback import (
    MCP_HEADERS,
    Agent,
    Exchange,
    Script,
    World,
    breaker,
    redaction,
    retry,
    rules,
    tools_call,
    until,
    world,
)
from tests.unit.datapath.test_retries import TICKET, says
from toolpolicy_api.snapshot import Concurrency, Hedge
from toolpolicy_sidecar.circuit import Circuit
from toolpolicy_sidecar.resilience.breaker import Outcome, Permit


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def circuit(w: World, tool: str = "ticket") -> Circuit:
    assert w.current.runtime
    return w.current.runtime.circuit(tool)


def hedged(w: World, mode: str = "Enforce", **fields: Any) -> None:
    """Both tools are known to answer within milliseconds."""
    wanted = retry(hedge=Hedge(), on=("Connect",), **fields.pop("retry", {}))
    w.install(mode=mode, redaction=fields.pop("redaction", None), tool_rules=rules(retry=wanted, **fields))
    for tool in ("ticket", "search"):
        hedge = circuit(w, tool).hedge
        assert hedge
        for _ in range(200):
            hedge.observe(0.01)


class Play:
    """One script for each request in turn; the connections of those that hang."""

    def __init__(self, w: World, *scripts: Script) -> None:
        self.closed: list[int] = []
        self._scripts, self._number = scripts, -1
        w.tool.script = self._next

    async def _next(self, exchange: Exchange) -> None:
        if b"notifications/cancelled" in exchange.seen.body:
            await exchange.answer(202, b"")
            return
        self._number += 1
        await self._scripts[self._number](exchange)

    def hangs(self, number: int) -> Script:
        async def script(exchange: Exchange) -> None:
            await exchange.closed()
            self.closed.append(number)

        return script


def hang(play: "list[Play]", number: int) -> Script:
    async def script(exchange: Exchange) -> None:
        await play[0].hangs(number)(exchange)

    return script


def played(w: World, *scripts: Script | None) -> Play:
    """None hangs until its connection is closed."""
    plays: list[Play] = []
    play = Play(
        w, *(hang(plays, number) if script is None else script for number, script in enumerate(scripts))
    )
    plays.append(play)
    return play


def text(body: str, after: asyncio.Event | None = None) -> Script:
    async def script(exchange: Exchange) -> None:
        if after is not None:
            await after.wait()
        await exchange.answer(200, json.dumps(body).encode())

    return script


def in_flight(w: World) -> int:
    assert w.current.runtime
    return sum(slots.in_flight for slots in w.current.runtime.slots.values())


async def get(w: World) -> Agent:
    agent = await w.agent()
    await agent.send("GET", TICKET)
    return agent


async def test_a_late_attempt_gets_a_second_one_whose_answer_counts(w: World) -> None:
    hedged(w, breaker=breaker(1), concurrency=Concurrency(5))
    play = played(w, None, text("second"))
    agent = await get(w)
    assert (await agent.answer()).json == "second"
    await until(lambda: play.closed == [0])
    record = await w.recorded_call()
    assert (record.hedge, record.attempts, record.outcome, record.retries) == ("Won", 2, "success", ())
    assert w.recorded.transitions == []  # the loser is neutral
    assert in_flight(w) == 0
    w.tool.script = says(200)
    assert (
        await agent.request("GET", TICKET)
    ).status == 200  # nothing of the first answer came after the second


async def test_a_first_attempt_that_answers_after_all_counts(w: World) -> None:
    hedged(w, breaker=breaker(1))
    go = asyncio.Event()
    play = played(w, text("first", go), None)
    agent = await get(w)
    await until(lambda: len(w.tool.seen) == 2)
    go.set()
    assert (await agent.answer()).json == "first"
    await until(lambda: play.closed == [1])
    record = await w.recorded_call()
    assert (record.hedge, record.attempts) == ("Lost", 2)
    assert w.recorded.transitions == []


async def test_the_second_attempt_has_a_permit_of_its_own_and_both_are_settled(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watched on its way through, nothing is replaced."""
    hedged(w, breaker=breaker(5))
    given: list[Permit] = []
    acquire, settle = Circuit.acquire, Circuit.settle
    settled: list[tuple[Permit, Outcome]] = []

    def acquiring(of: Circuit, now: float, deadline: float) -> Any:
        permit = acquire(of, now, deadline)
        assert isinstance(permit, Permit)
        given.append(permit)
        return permit

    def settling(of: Circuit, permit: Permit, outcome: Outcome, cause: str | None, **more: Any) -> None:
        settled.append((permit, outcome))
        settle(of, permit, outcome, cause, **more)

    monkeypatch.setattr(Circuit, "acquire", acquiring)
    monkeypatch.setattr(Circuit, "settle", settling)
    played(w, None, text("second"))
    await (await get(w)).answer()
    await w.recorded_call()
    first, second = given
    assert {id(permit): outcome for permit, outcome in settled} == {
        id(first): Outcome.NEUTRAL,
        id(second): Outcome.SUCCESS,
    }


async def test_a_second_attempt_that_fails_waits_for_the_first(w: World) -> None:
    hedged(w, breaker=breaker(1))
    go = asyncio.Event()

    async def fails(exchange: Exchange) -> None:
        await exchange.answer(500, b"{}")
        await asyncio.sleep(0.1)  # it is there long before the other
        go.set()

    played(w, text("first", go), fails)
    assert (await (await get(w)).answer()).json == "first"
    assert (await w.recorded_call()).hedge == "Lost"
    assert w.recorded.transitions == []


async def test_two_that_fail_are_one_failure(w: World) -> None:
    hedged(w, breaker=breaker(2))
    go = asyncio.Event()

    async def first(exchange: Exchange) -> None:
        await go.wait()
        await exchange.answer(500, b'"first"')

    async def second(exchange: Exchange) -> None:
        await exchange.answer(503, b'"second"')
        await asyncio.sleep(0.1)
        go.set()

    played(w, first, second)
    answer = await (await get(w)).answer()
    assert (answer.status, answer.json) == (500, "first")
    record = await w.recorded_call()
    assert (record.outcome, record.hedge, record.attempts) == ("failure", "Lost", 2)
    assert w.recorded.transitions == []


async def test_time_that_is_over_ends_both(w: World) -> None:
    hedged(w, breaker=breaker(1))
    play = played(w, None, None)
    agent = await get(w)
    await until(lambda: len(w.tool.seen) == 2)
    w.turn(10)
    assert (await agent.answer()).json["reason"] == "TotalTimeout"
    await until(lambda: sorted(play.closed) == [0, 1])
    assert [t.after for t in w.recorded.transitions] == ["Open"]
    assert in_flight(w) == 0


async def test_an_agent_that_hangs_up_ends_both(w: World) -> None:
    hedged(w, breaker=breaker(1), concurrency=Concurrency(5))
    play = played(w, None, None)
    agent = await get(w)
    await until(lambda: len(w.tool.seen) == 2)
    agent.close()
    await until(lambda: sorted(play.closed) == [0, 1])
    assert (await w.recorded_call()).reason == "ClientGone"
    assert w.recorded.transitions == []
    assert in_flight(w) == 0


@pytest.mark.parametrize("winner", ["first", "second"])
async def test_mcp_has_a_second_id_and_the_loser_is_taken_back(w: World, winner: str) -> None:
    hedged(w)
    go = asyncio.Event()

    async def result(exchange: Exchange) -> None:
        await go.wait()
        await exchange.result(winner)

    play = played(w, *((result, None) if winner == "first" else (None, result)))
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(identifier=7), MCP_HEADERS)
    await until(lambda: len(w.tool.seen) == 2)
    go.set()
    answer = await agent.answer()
    assert answer.json["id"] == 7
    assert answer.json["result"]["content"][0]["text"] == winner
    await until(lambda: len(w.tool.seen) == 3)
    ids = [seen.json["id"] for seen in w.tool.seen[:2]]
    assert ids[0] == 7
    assert ids[1] != 7
    taken_back = w.tool.seen[2].json
    assert taken_back["method"] == "notifications/cancelled"
    assert taken_back["params"]["requestId"] == ids[1 if winner == "first" else 0]
    await until(lambda: play.closed == [1 if winner == "first" else 0])


async def test_a_stream_that_says_nothing_is_late_whatever_its_head(w: World) -> None:
    hedged(w)

    async def silent(exchange: Exchange) -> None:
        await exchange.events()
        await exchange.closed()

    async def streams(exchange: Exchange) -> None:
        await exchange.events(b"data: " + exchange.message("second") + b"\n\n")
        await exchange.end()

    played(w, silent, streams)
    answer = await (await w.agent()).call()
    (line,) = [line for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
    message = json.loads(line[6:])
    assert (message["id"], message["result"]["content"][0]["text"]) == (7, "second")


async def test_the_time_that_is_left_is_told_to_the_second_too(w: World) -> None:
    hedged(w, total_ms=5000, attempt_ms=5000, retry={"key_header": "Idempotency-Key"})
    played(w, None, text("second"))
    await (await get(w)).answer()
    first, second = w.tool.seen
    left = [int(seen.header("X-Request-Timeout-Ms") or 0) for seen in (first, second)]
    assert 5000 >= left[0] > left[1] > 0
    assert first.header("Idempotency-Key") == second.header("Idempotency-Key") is not None


def unlearned(w: World) -> None:
    w.install(tool_rules=rules(retry=retry(hedge=Hedge())))


def not_idempotent(w: World) -> None:
    hedged(w, retry={"idempotent": False})


def no_second_attempt(w: World) -> None:
    hedged(w, retry={"max_attempts": 1})


def budget_spent(w: World) -> None:
    hedged(w)
    assert w.current.runtime
    budget, now = w.current.runtime.servers["api"].retry_budget, asyncio.get_running_loop().time()
    while budget.withdraw(now):
        pass


def probing(w: World) -> None:
    hedged(w, breaker=breaker(1, open_for_ms=1))
    now = asyncio.get_running_loop().time()
    permit = circuit(w).acquire(now, now + 1)
    assert isinstance(permit, Permit)
    circuit(w).settle(permit, Outcome.FAILURE, "ServerError: HTTP 500", duration_s=0.1)


def later(w: World) -> None:
    wanted = retry(hedge=Hedge(not_before_ms=60_000))
    hedged(w)
    w.install(tool_rules=rules(retry=wanted))


@pytest.mark.parametrize(
    "prepared", [unlearned, not_idempotent, no_second_attempt, budget_spent, probing, later]
)
async def test_no_second_attempt(w: World, prepared: Callable[[World], None]) -> None:
    prepared(w)
    await asyncio.sleep(0.01)
    go = asyncio.Event()
    played(w, text("first", go))
    agent = await get(w)
    await until(lambda: w.tool.seen)
    await asyncio.sleep(0.1)  # several times what is late for this tool
    go.set()
    assert (await agent.answer()).json == "first"
    record = await w.recorded_call()
    assert (record.hedge, record.attempts, len(w.tool.seen)) == (None, 1, 1)


async def test_a_streamed_upload_is_sent_once(w: World) -> None:
    hedged(w)
    go = asyncio.Event()
    played(w, text("first", go))
    agent = await w.agent()
    await agent.send("POST", TICKET, b"x" * 100_000)
    await until(lambda: w.tool.seen)
    await asyncio.sleep(0.1)
    go.set()
    assert (await agent.answer()).json == "first"
    assert (await w.recorded_call()).attempts == 1


async def test_calls_teach_when_one_is_late(w: World) -> None:
    unlearned(w)
    w.tool.script = text("quick")
    agent = await w.agent()
    for _ in range(100):
        await agent.request("GET", TICKET)
    w.install(tool_rules=rules(retry=retry(hedge=Hedge(), max_attempts=2)))  # a reload forgets nothing
    played(w, None, text("second"))
    assert (await agent.request("GET", TICKET)).json == "second"


async def test_redaction_applies_to_the_answer_of_the_second(w: World) -> None:
    hedged(w, redaction=redaction())
    played(w, None, text("sk-canary12345678"))
    assert (await (await get(w)).answer()).json == "[key]"


async def test_a_shadow_notes_that_a_second_attempt_would_have_been_made(w: World) -> None:
    hedged(w, mode="Shadow")
    go = asyncio.Event()
    played(w, text("first", go))
    agent = await get(w)
    await until(lambda: w.tool.seen)
    await asyncio.sleep(0.1)
    go.set()
    assert (await agent.answer()).json == "first"
    record = await w.recorded_call()
    assert (record.shadow, record.hedge, len(w.tool.seen)) == (("Hedge",), None, 1)
