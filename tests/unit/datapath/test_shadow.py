"""Mode Shadow over real sockets: every rule decides and is counted, and the call passes as if there were none."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from tests.unit.datapath.loopback import (
    MCP_HEADERS,
    Exchange,
    Script,
    World,
    breaker,
    fine,
    redaction,
    retry,
    rules,
    tools_call,
    until,
    world,
)
from tests.unit.datapath.test_mcp_wire import SECRET
from tests.unit.datapath.test_retries import TICKET, says
from toolpolicy_api.channel import ToolKey
from toolpolicy_api.snapshot import Concurrency, StaticFallback
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.metrics import Metrics
from toolpolicy_sidecar.reasons import Reason, Would
from toolpolicy_sidecar.record import CallRecord
from toolpolicy_sidecar.slots import SlotsKey

KEY = ToolKey("support/agent", "api", "ticket")


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def shadow(w: World, **fields: Any) -> None:
    w.install(mode="Shadow", tool_rules=rules(**fields))


async def get(w: World, times: int = 1) -> list[int]:
    agent = await w.agent()
    return [(await agent.request("GET", TICKET)).status for _ in range(times)]


async def noted(w: World, number: int) -> list[tuple[str, ...]]:
    """Of each call, once all are recorded."""
    await until(lambda: len(w.recorded.calls) >= number)
    assert len(w.recorded.calls) == number
    return [call.shadow for call in w.recorded.calls]


def arrived(w: World, number: int) -> bool:
    return len(w.tool.seen) == number


def answers_with(document: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, json.dumps(document).encode())

    return script


def in_flight(w: World) -> int:
    assert w.current.runtime
    slots = w.current.runtime.slots
    place = w.current.runtime.servers["api"].place
    return slots[SlotsKey("support/agent", "api", "ticket", place)].in_flight


async def test_a_shadow_of_the_kill_switch_lets_pass(w: World) -> None:
    shadow(w, enabled=False, fallback=StaticFallback("instead"))
    assert await get(w) == [200]
    assert await noted(w, 1) == [("ToolDisabled",)]
    record = w.recorded.calls[0]
    assert (record.outcome, record.reason, record.attempts, record.fallback) == ("success", None, 1, None)


async def test_a_shadow_of_a_method_that_is_not_listed_lets_pass(w: World) -> None:
    shadow(w)
    assert (await (await w.agent()).request("DELETE", TICKET)).status == 200
    assert await noted(w, 1) == [("MethodNotListed",)]


async def test_a_shadow_circuit_opens_and_lets_pass(w: World) -> None:
    shadow(w, breaker=breaker(2))
    w.tool.script = says(500)
    assert await get(w, 4) == [500] * 4
    assert await noted(w, 4) == [(), (), ("CircuitOpen",), ("CircuitOpen",)]
    assert [(t.before, t.after) for t in w.recorded.transitions] == [("Closed", "Open")]
    assert len(w.tool.seen) == 4


async def test_a_shadow_circuit_probes_and_closes_as_a_real_one(w: World) -> None:
    shadow(w, breaker=breaker(1, 100))
    w.tool.script = says(500)
    await get(w, 2)
    w.tool.script = fine
    assert w.current.runtime
    circuit = w.current.runtime.circuits[KEY]
    await until(lambda: circuit.report().state == "HalfOpen")
    assert await get(w, 2) == [200, 200]
    assert await noted(w, 4) == [(), ("CircuitOpen",), (), ()]
    assert [t.after for t in w.recorded.transitions] == ["Open", "HalfOpen", "Closed"]


async def test_a_circuit_that_only_observes_is_counted_in_mode_enforce_too(w: World) -> None:
    w.install(tool_rules=rules(breaker=breaker(1, mode="Observe")))
    w.tool.script = says(500)
    assert await get(w, 2) == [500, 500]
    assert await noted(w, 2) == [(), ("CircuitOpen",)]


async def test_a_shadow_of_a_pause_lets_pass(w: World) -> None:
    shadow(w)
    w.tool.script = says(429, Retry_After="30")
    assert await get(w, 2) == [429, 429]
    assert await noted(w, 2) == [(), ("Throttled",)]
    assert len(w.tool.seen) == 2


async def test_a_shadow_limit_counts_and_neither_queues_nor_refuses(w: World) -> None:
    shadow(w, concurrency=Concurrency(1, queue=1))
    go = asyncio.Event()

    async def held(exchange: Exchange) -> None:
        await go.wait()
        await fine(exchange)

    w.tool.script = held
    agents = [await w.agent() for _ in range(3)]
    for number, agent in enumerate(agents, 1):
        await agent.send("GET", TICKET)
        await until(partial(arrived, w, number))
    assert in_flight(w) == 2  # the third would have been refused, and holds nothing
    go.set()
    assert [(await agent.answer()).status for agent in agents] == [200] * 3
    found = sorted(await noted(w, 3))
    assert found == [(), ("ConcurrencyLimit",), ("Queue",)]
    assert in_flight(w) == 0


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ({"total_ms": 50, "attempt_ms": 50}, "TotalTimeout"),
        ({"attempt_ms": 50}, "AttemptTimeout"),
        ({"idle_ms": 50}, "IdleTimeout"),
    ],
)
async def test_a_shadow_limit_of_time_is_noted_when_it_passes_and_cuts_nothing(
    w: World, times: dict[str, int], reason: str
) -> None:
    shadow(w, breaker=breaker(1), **times)
    go = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await go.wait()
        await exchange.raw(b"cd")

    w.tool.script = slow
    agent = await w.agent()
    await agent.send("GET", TICKET)
    await until(lambda: w.recorded.transitions)  # the circuit hears of it while the call goes on
    assert (w.recorded.transitions[0].after, w.recorded.calls) == ("Open", [])
    assert (w.recorded.transitions[0].last_error or "").startswith(f"{reason}: ")
    assert in_flight(w) == 0
    go.set()
    answer = await agent.answer()
    assert (answer.status, answer.body) == (200, b"abcd")
    assert await noted(w, 1) == [(reason,)]
    assert w.recorded.calls[0].outcome == "success"


async def test_a_tool_is_not_told_of_a_limit_in_shadow(w: World) -> None:
    shadow(w, total_ms=5000, retry=retry(key_header="Idempotency-Key"))
    await get(w)
    assert w.tool.seen[0].header("X-Request-Timeout-Ms") is None
    assert w.tool.seen[0].header("Idempotency-Key") is None


async def test_a_shadow_retry_is_counted_and_not_made(w: World) -> None:
    shadow(w, retry=retry())
    w.tool.script = says(503)
    assert await get(w) == [503]
    assert await noted(w, 1) == [("Retry",)]
    assert (len(w.tool.seen), w.recorded.calls[0].retries) == (1, ())


async def test_shadow_retries_take_nothing_from_the_budget_of_real_ones(w: World) -> None:
    shadow(w, retry=retry())
    w.tool.script = says(503)
    await get(w, 5)  # more than the floor of the budget
    assert await noted(w, 5) == [("Retry",)] * 3 + [()] * 2
    w.install(tool_rules=rules(retry=retry()))
    await get(w)
    assert (await w.recorded_call(6)).retries == ("ServerError", "ServerError")


async def test_a_shadow_fallback_is_counted_and_not_given(w: World) -> None:
    shadow(w, breaker=breaker(1), fallback=StaticFallback("instead"))
    w.tool.script = says(500)
    agent = await w.agent()
    assert [(await agent.request("GET", TICKET)).body for _ in range(2)] == [b'{"why":"so"}'] * 2
    assert await noted(w, 2) == [("Fallback",), ("CircuitOpen", "Fallback")]
    assert {call.fallback for call in w.recorded.calls} == {None}


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_shadow_redaction_counts_hits_and_changes_no_byte_of_http(w: World, encoding: str) -> None:
    w.install(mode="Shadow", redaction=redaction())
    said = json.dumps({"a": SECRET}, indent=3).encode()
    said = gzip.compress(said) if encoding == "gzip" else said

    async def answers(exchange: Exchange) -> None:
        await exchange.answer(200, said, Content_Encoding=encoding)

    w.tool.script = answers
    body = json.dumps({"note": SECRET}).encode()
    headers = [("Content-Type", "application/json"), ("Accept-Encoding", "gzip, br")]
    answer = await (await w.agent()).request("POST", f"{TICKET}?q={SECRET}", body, headers)
    assert answer.body == said
    seen = w.tool.seen[0]
    assert (seen.body, seen.target.endswith(f"?q={SECRET}")) == (body, True)
    assert seen.header("Accept-Encoding") == "gzip, br"
    assert await noted(w, 1) == [("Redact",)]
    record = w.recorded.calls[0]
    assert (record.shadow_redacted_request, record.shadow_redacted_response) == ({"key": 2}, {"key": 1})
    assert (record.redacted_request, record.redacted_response) == ({}, {})


async def test_shadow_redaction_changes_no_byte_of_a_streamed_upload(w: World) -> None:
    w.install(mode="Shadow", redaction=redaction())
    pieces = [b"x" * 40_000, SECRET.encode(), b" " + b"y" * 40_000]
    agent = await w.agent()
    await agent.send("POST", TICKET, None, [("Transfer-Encoding", "chunked"), ("Content-Type", "text/plain")])
    for piece in pieces:
        await agent.raw(b"%x\r\n%b\r\n" % (len(piece), piece))
    await agent.raw(b"0\r\n\r\n")
    assert (await agent.answer()).status == 200
    assert w.tool.seen[0].body == b"".join(pieces)
    await noted(w, 1)
    assert w.recorded.calls[0].shadow_redacted_request == {"key": 1}


@pytest.mark.parametrize("streamed", [False, True], ids=["document", "events"])
async def test_shadow_redaction_counts_hits_and_changes_no_byte_of_mcp(w: World, streamed: bool) -> None:
    w.install(mode="Shadow", redaction=redaction())
    said = b""

    async def answers(exchange: Exchange) -> None:
        nonlocal said
        said = exchange.message(f"it is {SECRET}", isError=True)
        if not streamed:
            await exchange.answer(200, said)
            return
        said = b": hello\n\ndata:" + said + b"\n\nrest"
        await exchange.events(said[:30], said[30:])
        await exchange.end()

    w.tool.script = answers
    body = tools_call(q=SECRET)
    answer = await (await w.agent()).request("POST", "/kb", body, MCP_HEADERS)
    assert answer.body == said
    assert w.tool.seen[0].body == body
    await noted(w, 1)
    record = w.recorded.calls[0]
    assert (record.shadow_redacted_request, record.shadow_redacted_response) == ({"key": 1}, {"key": 1})
    assert (record.shadow, record.reason) == (("Redact",), "ToolError")


async def test_what_redaction_cannot_read_passes_in_shadow(w: World) -> None:
    w.install(mode="Shadow", redaction=redaction())

    async def answers(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"cut', Content_Encoding="identity")

    w.tool.script = answers
    agent = await w.agent()
    kind = [("Content-Type", "application/json")]
    assert (await agent.request("POST", TICKET, b'{"also', kind)).body == b'{"cut'
    assert (await agent.request("POST", TICKET, b"{}", kind)).body == b'{"cut'
    assert await noted(w, 2) == [("RequestUnparsable",), ("AnswerUnparsable",)]
    assert w.tool.seen[0].body == b'{"also'


async def test_what_redaction_would_block_passes_in_shadow(w: World) -> None:
    w.install(mode="Shadow", redaction=redaction(action="Block"))
    w.tool.script = answers_with(SECRET)
    agent = await w.agent()
    kind = [("Content-Type", "application/json")]
    assert (await agent.request("POST", TICKET, json.dumps(SECRET).encode(), kind)).json == SECRET
    assert (await agent.request("POST", TICKET, b"{}", kind)).json == SECRET
    assert await noted(w, 2) == [("RequestBlocked",), ("AnswerBlocked",)]
    assert w.tool.seen[0].json == SECRET


async def test_large_texts_are_scanned_aside_in_shadow_too(w: World) -> None:
    w.install(mode="Shadow", redaction=redaction())
    large = f"{'x' * 200_000} {SECRET}"
    w.tool.script = answers_with(large)
    agent = await w.agent()
    body = json.dumps(large).encode()
    assert (await agent.request("POST", TICKET, body, [("Content-Type", "application/json")])).json == large
    await noted(w, 1)
    record = w.recorded.calls[0]
    assert (record.shadow_redacted_request, record.shadow_redacted_response) == ({"key": 1}, {"key": 1})


async def test_an_encoding_that_nobody_can_read_is_undecided(w: World) -> None:
    w.install(mode="Shadow", redaction=redaction())

    async def answers(exchange: Exchange) -> None:
        await exchange.events(b"\x8b\x01\x80data\x03", Content_Encoding="br")
        await exchange.end()

    w.tool.script = answers
    answer = await (await w.agent()).call()
    assert (answer.header("Content-Encoding"), answer.body) == ("br", b"\x8b\x01\x80data\x03")
    assert await noted(w, 1) == [("Undecided",)]


async def test_a_stream_without_an_answer_passes_in_shadow_and_is_a_failure(w: World) -> None:
    shadow(w, breaker=breaker(1))

    async def answers(exchange: Exchange) -> None:
        await exchange.events(b": nothing\n\n")
        await exchange.end()

    w.tool.script = answers
    assert (await (await w.agent()).call()).body == b": nothing\n\n"
    assert await noted(w, 1) == [("IncompleteAnswer",)]
    assert [t.after for t in w.recorded.transitions] == ["Open"]


async def test_a_document_that_is_no_message_passes_in_shadow(w: World) -> None:
    shadow(w)

    async def answers(exchange: Exchange) -> None:
        await exchange.answer(200, b"<p>hello</p>", "text/html")

    w.tool.script = answers
    assert (await (await w.agent()).call()).body == b"<p>hello</p>"
    assert await noted(w, 1) == [("MalformedAnswer",)]


async def test_a_broken_answer_is_cut_in_shadow_and_nothing_is_added(w: World) -> None:
    shadow(w)

    async def breaks(exchange: Exchange) -> None:
        await exchange.events(b": begun\n\n")
        await asyncio.sleep(0.02)
        exchange.reset()

    w.tool.script = breaks
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    assert (await agent.head()).status == 200
    assert await agent.reader.read() == b"9\r\n: begun\n\n\r\n"
    assert (await w.recorded_call()).reason == "IncompleteAnswer"


async def test_what_cannot_be_relayed_is_refused_in_shadow_as_well() -> None:
    async with world(Limits(body_bytes=100)) as w:
        shadow(w)
        agent = await w.agent()
        too_large = await agent.request("POST", TICKET, b"x" * 101)
        assert (too_large.status, too_large.json["reason"]) == (413, "BodyTooLarge")
        batch = await (await w.agent()).request("POST", "/kb", b"[]", MCP_HEADERS)
        assert (batch.status, w.tool.seen) == (400, [])


async def test_an_agent_that_hangs_up_leaves_nothing_of_its_shadow(w: World) -> None:
    shadow(w, breaker=breaker(1), concurrency=Concurrency(5))
    w.tool.script = lambda exchange: exchange.closed()
    agent = await w.agent()
    await agent.send("GET", TICKET)
    await until(lambda: len(w.tool.seen) == 1)
    assert in_flight(w) == 1
    agent.close()
    assert (await noted(w, 1), w.recorded.calls[0].reason) == ([()], "ClientGone")
    assert in_flight(w) == 0
    w.turn(10)
    await asyncio.sleep(0.05)  # its time limit is gone as well
    assert w.recorded.transitions == []


async def test_a_policy_that_is_enforced_at_last_begins_where_its_shadow_stood(w: World) -> None:
    shadow(w, breaker=breaker(1))
    w.tool.script = says(500)
    await get(w, 2)
    w.install(tool_rules=rules(breaker=breaker(1)))
    assert await get(w) == [503]
    assert len(w.tool.seen) == 2


def test_shadow_decisions_have_metrics_of_their_own(w: World) -> None:
    metrics = Metrics(w.current)
    metrics.call(
        CallRecord(
            policy="ns/p",
            server="api",
            tool="ticket",
            protocol="HTTP",
            outcome="success",
            status=200,
            started_at_ms=0,
            duration_ms=1.0,
            shadow=(Reason.CircuitOpen, Would.Redact),
            shadow_redacted_response={"Email": 2},
        )
    )
    text = metrics.text().decode()
    key = 'policy="ns/p"'
    labels = 'server="api",tool="ticket"'
    assert f'toolpolicy_shadow_decisions_total{{{key},reason="CircuitOpen",{labels}}} 1.0' in text
    assert (
        f'toolpolicy_shadow_redactions_total{{detector="Email",direction="response",{key},{labels}}} 2.0'
        in text
    )
    assert "toolpolicy_redactions_total{" not in text
