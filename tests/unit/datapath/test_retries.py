"""Retries over real sockets: what the tool's server gets, what the agent gets, what is recorded."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from functools import partial

import pytest

from localcluster.ports import free_port
from tests.unit.datapath.loopback import (
    MCP_HEADERS,
    Exchange,
    Script,
    Seen,
    World,
    breaker,
    by_hand,
    fine,
    redaction,
    retry,
    rules,
    tools_call,
    until,
    world,
)
from tests.unit.datapath.test_reasons_end_to_end import hang
from toolpolicy_sidecar.attempt import problem_of
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.metrics import Metrics
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.upstream.failure import ConnectionReset
from toolpolicy_sidecar.upstream.origin import Origin

TICKET = "/api/v1/tickets/5"
KEY = "Idempotency-Key"


class Steady(random.Random):
    """Every back-off is three quarters of its ceiling."""

    def random(self) -> float:
        return 0.75


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world(Limits(request_s=20.0), Steady()) as made:
        made.install(tool_rules=rules(retry=retry()))
        yield made


def first(*answers: Script, then: Script = fine) -> Script:
    """These answers in turn, then the last one for ever."""
    left = list(answers)

    async def script(exchange: Exchange) -> None:
        await (left.pop(0) if left else then)(exchange)

    return script


def says(status: int, **headers: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, b'{"why":"so"}', **headers)

    return script


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def test_a_failure_is_tried_again_and_the_agent_never_sees_it(w: World) -> None:
    w.tool.script = first(says(503), reset)
    answer = await (await w.agent()).request("GET", TICKET)
    assert (answer.status, answer.body) == (200, b'{"ok":true}')
    assert len(w.tool.seen) == 3
    record = await w.recorded_call()
    assert (record.outcome, record.reason, record.error, record.status) == ("success", None, None, 200)
    assert (record.attempts, record.retries) == (3, (Reason.ServerError, Reason.ConnectionReset))
    assert record.retry_ended is None


async def test_retries_are_counted_by_what_had_failed(w: World) -> None:
    w.tool.script = first(says(503), reset)
    await (await w.agent()).request("GET", TICKET)
    metrics = Metrics(w.current)
    metrics.call(await w.recorded_call())
    text = metrics.text().decode()
    for reason in ("ServerError", "ConnectionReset"):
        labels = f'policy="support/agent",reason="{reason}",server="api",tool="ticket"'
        assert f"toolpolicy_tool_retries_total{{{labels}}} 1.0" in text


async def test_the_last_failure_passes_as_it_is(w: World) -> None:
    w.tool.script = first(says(500), says(502), then=says(503, Retry_After="0"))
    answer = await (await w.agent()).request("GET", TICKET)
    assert (answer.status, answer.json, answer.header("Retry-After")) == (503, {"why": "so"}, "0")
    record = await w.recorded_call()
    assert (record.attempts, record.reason, record.retry_ended) == (3, "ServerError", "AttemptsSpent")


@pytest.mark.parametrize("status", [400, 404, 409, 501])
async def test_what_would_end_the_same_way_is_not_tried_again(w: World, status: int) -> None:
    w.tool.script = says(status)
    assert (await (await w.agent()).request("GET", TICKET)).status == status
    assert len(w.tool.seen) == 1


async def test_a_tool_that_cannot_be_reached_is_tried_by_any_tool(w: World) -> None:
    """Nothing was sent, so nothing can have happened twice."""
    w.install(tool_rules=rules(retry=retry(idempotent=False)), port=free_port())
    answer = await (await w.agent()).request("POST", TICKET, b"x" * 100_000)
    assert answer.json["reason"] == "ConnectRefused"
    record = await w.recorded_call()
    assert (record.attempts, record.retries) == (3, (Reason.ConnectRefused,) * 2)


async def test_a_server_that_comes_up_meanwhile(w: World) -> None:
    await w.tool.stop()
    w.install(tool_rules=rules(retry=retry(max_attempts=10, backoff_base_ms=50, backoff_max_ms=50)))
    agent = await w.agent()
    await agent.send("POST", TICKET, b"x" * 100_000)
    await w.tool.start()
    assert (await agent.answer()).status == 200
    assert w.tool.seen[0].body == b"x" * 100_000


async def test_without_retry_in_the_policy_there_is_one_attempt(w: World) -> None:
    w.install()
    w.tool.script = says(503)
    assert (await (await w.agent()).request("GET", TICKET)).status == 503
    assert len(w.tool.seen) == 1
    assert (await w.recorded_call()).retry_ended is None


async def test_mode_off_neither_retries_nor_adds_a_header(w: World) -> None:
    w.install(tool_rules=rules(retry=retry(key_header=KEY)), mode="Off")
    w.tool.script = says(429, Retry_After="60")
    agent = await w.agent()
    for _ in range(2):
        assert (await agent.request("GET", TICKET)).status == 429
    assert len(w.tool.seen) == 2
    assert [name for name, _ in w.tool.seen[0].headers] == ["Host"]
    assert {record.retry_ended for record in w.recorded.calls} == {None}
    w.install()
    assert (await agent.request("GET", TICKET)).status == 429  # from the tool: no gate was shut
    assert len(w.tool.seen) == 3


def test_a_connection_that_was_closed_before_use_is_one_that_was_not_made() -> None:
    origin = Origin("http", "kb", 80)
    unsent = ConnectionReset(origin, "closed before use", sent=False, response_started=False)
    assert problem_of(unsent).reason is Reason.ConnectRefused
    sent = ConnectionReset(origin, "closed by the server", sent=True, response_started=False)
    assert problem_of(sent).reason is Reason.ConnectionReset


# The fifteen cases, 9 to 12


async def test_case_09_a_circuit_that_opens_during_the_back_off_ends_the_retries(w: World) -> None:
    """Two calls fail together. The first waits for its second attempt when the other one opens the circuit."""
    w.install(tool_rules=rules(breaker=breaker(2), retry=retry(backoff_base_ms=8_000, backoff_max_ms=8_000)))
    both = asyncio.Event()

    async def together(exchange: Exchange) -> None:
        if len(w.tool.seen) == 2:
            both.set()
        await both.wait()
        await exchange.answer(503, b"theirs", "text/plain")

    w.tool.script = together
    one, other = await w.agent(), await w.agent()
    answers = await asyncio.gather(one.request("GET", TICKET), other.request("GET", TICKET))
    assert len(w.tool.seen) == 2
    ours, theirs = sorted(answers, key=lambda answer: answer.status)
    assert (theirs.status, theirs.body) == (
        503,
        b"theirs",
    )  # it opened the circuit: no wait, so nothing is dropped
    assert (ours.status, ours.json["reason"]) == (502, "ServerError")
    assert 50 <= int(ours.header("Retry-After") or 0) <= 60
    await until(lambda: len(w.recorded.calls) == 2)
    assert {(call.attempts, call.retry_ended, call.retries) for call in w.recorded.calls} == {
        (1, "CircuitOpen", ())
    }
    assert [change.after for change in w.recorded.transitions] == ["Open"]


async def test_case_10_one_deadline_is_over_all_attempts(w: World) -> None:
    w.install(tool_rules=rules(total_ms=9_000, attempt_ms=5_000, retry=retry()))
    w.tool.script = hang
    agent = await w.agent()
    await agent.send("GET", TICKET)
    for attempts, time_s in ((1, 5), (2, 4)):
        await until(partial(lambda number: len(w.tool.seen) == number, attempts))
        w.turn(time_s)
    answer = await agent.answer()
    assert answer.json["reason"] == "TotalTimeout"
    left_ms = [int(seen.header("X-Request-Timeout-Ms") or 0) for seen in w.tool.seen]
    assert len(left_ms) == 2
    assert left_ms[0] <= 5_000
    assert left_ms[1] <= 4_000
    record = await w.recorded_call()
    assert (record.retries, record.retry_ended) == ((Reason.AttemptTimeout,), "NoTime")


async def test_case_11_an_event_stream_that_fails_after_its_head_is_not_tried_again(w: World) -> None:
    note = b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'

    async def breaks(exchange: Exchange) -> None:
        await exchange.events(note)
        exchange.reset()

    w.install(tool_rules=rules(breaker=breaker(1), retry=retry()))
    w.tool.script = breaks
    answer = await (await w.agent()).call()
    assert answer.body.startswith(note)
    last = json.loads(answer.body.removeprefix(note).split(b"data: ")[1])
    assert (last["id"], last["result"]["isError"]) == (7, True)
    assert len(w.tool.seen) == 1
    record = await w.recorded_call()
    assert (record.reason, record.retry_ended) == ("IncompleteAnswer", "Answered")
    assert [change.after for change in w.recorded.transitions] == ["Open"]


async def test_case_11_a_body_that_fails_after_its_head_is_cut_and_not_tried_again(w: World) -> None:
    async def breaks(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await asyncio.sleep(0.02)
        exchange.reset()

    w.tool.script = breaks
    agent = await w.agent()
    await agent.send("GET", TICKET)
    with pytest.raises(asyncio.IncompleteReadError):
        await agent.answer()
    assert len(w.tool.seen) == 1
    record = await w.recorded_call()
    assert (record.reason, record.retry_ended) == ("IncompleteAnswer", "Answered")


@pytest.mark.parametrize("broken", [says(500), reset])
async def test_case_12_a_post_without_a_key_is_not_sent_twice(w: World, broken: Script) -> None:
    w.install(tool_rules=rules(retry=retry(idempotent=False)))
    w.tool.script = broken
    answer = await (await w.agent()).request("POST", TICKET, b"{}", [(KEY, "the policy does not name it")])
    assert answer.status in {500, 502}
    assert len(w.tool.seen) == 1
    assert (await w.recorded_call()).retry_ended == "NotRepeatable"


@pytest.mark.parametrize("broken", [says(500), reset])
async def test_case_12_a_post_with_a_key_has_the_same_in_all_attempts(w: World, broken: Script) -> None:
    w.install(tool_rules=rules(retry=retry(idempotent=False, key_header=KEY)))
    agent = await w.agent()
    for given, failures in (([(KEY, "mine")], 2), ([], 1)):
        w.tool.script = first(*[broken] * failures)
        assert (await agent.request("POST", TICKET, b"{}", given)).status == 200
    keys = [seen.header(KEY) for seen in w.tool.seen]
    assert keys[:3] == ["mine"] * 3
    assert keys[3] == keys[4]
    assert len(keys[3] or "") == 32
    assert all(sum(name == KEY for name, _ in seen.headers) == 1 for seen in w.tool.seen)
    assert {seen.body for seen in w.tool.seen} == {b"{}"}


async def test_every_call_gets_a_key_of_its_own(w: World) -> None:
    w.install(tool_rules=rules(retry=retry(key_header=KEY)))
    agent = await w.agent()
    for _ in range(3):
        await agent.request("POST", TICKET, b"{}")
    assert len({seen.header(KEY) for seen in w.tool.seen}) == 3


async def test_an_empty_key_of_the_agent_is_none_and_is_left_as_it_is(w: World) -> None:
    w.install(tool_rules=rules(retry=retry(idempotent=False, key_header=KEY)))
    w.tool.script = says(500)
    await (await w.agent()).request("POST", TICKET, b"{}", [(KEY, "")])
    assert [seen.header(KEY) for seen in w.tool.seen] == [""]


async def test_an_upload_that_has_begun_is_not_sent_twice(w: World) -> None:
    w.tool.script = says(500)
    answer = await (await w.agent()).request("POST", TICKET, b"x" * 100_000)
    assert (answer.status, answer.json) == (500, {"why": "so"})
    assert len(w.tool.seen) == 1
    assert (await w.recorded_call()).retry_ended == "NotRepeatable"


# What ends them


async def test_switched_off_while_it_waits(w: World) -> None:
    runtime = w.current.runtime
    assert runtime
    circuit = runtime.circuit("ticket")

    async def incident(exchange: Exchange) -> None:
        circuit.impose(by_hand("incident"))
        await exchange.answer(500, b"{}")

    w.tool.script = incident
    answer = await (await w.agent()).request("GET", TICKET)
    assert answer.json["reason"] == "ServerError"
    assert len(w.tool.seen) == 1
    assert (await w.recorded_call()).retry_ended == "Refused"


async def test_an_agent_that_hangs_up_while_it_waits(w: World) -> None:
    w.tool.script = says(503, Retry_After="5")
    agent = await w.agent()
    await agent.send("GET", TICKET)
    await until(lambda: w.tool.seen)
    await asyncio.sleep(0.02)
    agent.close()
    record = await w.recorded_call()
    assert (record.reason, record.attempts, record.outcome) == ("ClientGone", 1, "neutral")
    assert w.current.in_flight.requests == 0
    await until(lambda: w.pool.open == 0)


async def test_a_wait_that_is_longer_than_the_deadline_is_not_begun(w: World) -> None:
    w.tool.script = says(503, Retry_After="600")
    answer = await (await w.agent()).request("GET", TICKET)
    assert (answer.status, answer.header("Retry-After")) == (503, "600")
    assert (await w.recorded_call()).retry_ended == "NoTime"


async def test_the_budget_of_the_upstream_is_shared_by_its_tools(w: World) -> None:
    w.tool.script = says(503)
    agent = await w.agent()
    for _ in range(20):
        await agent.request("GET", TICKET)
        await agent.call()
    await until(lambda: len(w.recorded.calls) == 40)
    retries = sum(len(record.retries) for record in w.recorded.calls)
    assert len(w.tool.seen) == 40 + retries
    assert 5 <= retries <= 8  # 20 % of 40
    assert "BudgetSpent" in {record.retry_ended for record in w.recorded.calls}


async def test_a_reload_keeps_the_budget(w: World) -> None:
    w.tool.script = says(503)
    agent = await w.agent()
    for _ in range(6):
        await agent.request("GET", TICKET)
        w.install(tool_rules=rules(retry=retry()))
    assert len(w.tool.seen) <= 6 + 4


# MCP


@pytest.mark.parametrize("redacting", [False, True])
@pytest.mark.parametrize("identifier", [7, "seven", 0])
async def test_an_mcp_retry_has_an_id_of_its_own_that_is_mapped_back(
    w: World, identifier: object, *, redacting: bool
) -> None:
    w.install(tool_rules=rules(retry=retry()), redaction=redaction() if redacting else None)
    w.tool.script = first(says(503), reset)
    body = tools_call(identifier=identifier, query="sk-canary12345678")
    answer = await (await w.agent()).request("POST", "/kb", body, MCP_HEADERS)
    assert answer.json["id"] == identifier
    assert answer.json["result"]["content"] == [{"type": "text", "text": "fine"}]
    identifiers = [seen.json["id"] for seen in w.tool.seen]
    assert identifiers[0] == identifier
    assert len(set(identifiers)) == 3
    arguments = {json.dumps(seen.json["params"]) for seen in w.tool.seen}
    assert len(arguments) == 1
    assert ("canary" in arguments.pop()) is not redacting


async def test_an_mcp_retry_that_is_answered_by_a_stream(w: World) -> None:
    async def stream(exchange: Exchange) -> None:
        note = b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'
        await exchange.events(note, b"id: 4\ndata: " + exchange.message() + b"\n\n")
        await exchange.end()

    w.tool.script = first(says(503), then=stream)
    answer = await (await w.agent()).call()
    events = answer.body.split(b"\n\n")
    assert json.loads(events[1].split(b"data: ")[1])["id"] == 7
    assert events[1].startswith(b"id: 4\n")
    record = await w.recorded_call()
    assert (record.outcome, record.attempts) == ("success", 2)


async def test_a_stream_that_is_silent_after_its_head_is_tried_again(w: World) -> None:
    """Servers of the SDK send the head at once, and the answer when they have it."""
    w.install(tool_rules=rules(attempt_ms=5_000, retry=retry()))

    async def silent(exchange: Exchange) -> None:
        await exchange.events()
        await exchange.closed()

    async def breaks(exchange: Exchange) -> None:
        await exchange.events()
        exchange.reset()

    w.tool.script = first(breaks, silent)
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    await until(lambda: len(w.tool.seen) == 2)
    w.turn(5)
    answer = await agent.answer()
    assert answer.json["result"]["content"] == [{"type": "text", "text": "fine"}]
    record = await w.recorded_call()
    assert record.retries == (Reason.IncompleteAnswer, Reason.AttemptTimeout)


async def test_an_mcp_error_without_an_id_stays_one(w: World) -> None:
    body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}'

    async def refuses(exchange: Exchange) -> None:
        await exchange.answer(400, body)

    w.tool.script = first(says(503), then=refuses)
    answer = await (await w.agent()).call()
    assert (answer.status, answer.body) == (400, body)


async def test_a_large_answer_to_an_mcp_retry_is_mapped_back_too(w: World) -> None:
    async def large(exchange: Exchange) -> None:
        await exchange.result("x" * 400_000)

    w.tool.script = first(reset, then=large)
    answer = await (await w.agent()).call()
    assert answer.json["id"] == 7
    assert len(answer.body) > 400_000


async def test_a_resumable_stream_of_a_retry_ends_with_a_result(w: World) -> None:
    """Its answer on the resumed stream would have an id that the agent never sent."""

    async def closes(exchange: Exchange) -> None:
        await exchange.events(b"id: 1\nretry: 100\ndata:\n\n")
        await exchange.end()

    w.tool.script = first(says(503), then=closes)
    answer = await (await w.agent()).call()
    last = json.loads(answer.body.split(b"data: ")[-1])
    assert (last["id"], last["result"]["_meta"]["toolpolicy.dev/reason"]) == (7, "IncompleteAnswer")


async def test_each_attempt_at_a_server_with_sessions_is_taken_back_by_its_own_id(w: World) -> None:
    w.install(tool_rules=rules(attempt_ms=4_000, retry=retry(max_attempts=2)))
    attempts: list[Seen] = []

    async def hangs(exchange: Exchange) -> None:
        if exchange.seen.json["method"] == "tools/call":
            attempts.append(exchange.seen)
            await exchange.closed()
        else:
            await exchange.answer(202, b"", "")

    w.tool.script = hangs
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    for number in (1, 2):
        await until(partial(lambda number: len(attempts) == number, number))
        w.turn(4)
    answer = await agent.answer()
    assert answer.meta["toolpolicy.dev/reason"] == "AttemptTimeout"
    await until(lambda: len(w.tool.seen) == 4)
    called = {seen.json["id"] for seen in w.tool.seen if "id" in seen.json}
    cancelled = {seen.json["params"]["requestId"] for seen in w.tool.seen if "id" not in seen.json}
    assert called == cancelled
    assert len(called) == 2


async def test_what_the_agent_takes_back_is_the_attempt_under_way(w: World) -> None:
    release = asyncio.Event()

    async def hangs(exchange: Exchange) -> None:
        if exchange.seen.json["method"] == "tools/call":
            await release.wait()
            await exchange.result()
        else:
            await exchange.answer(202, b"", "")

    w.tool.script = first(reset, then=hangs)
    agent, other = await w.agent(), await w.agent()
    await agent.send("POST", "/kb", tools_call(), [*MCP_HEADERS, ("Mcp-Session-Id", "mine")])
    await until(lambda: len(w.tool.seen) == 2)
    for request_id, session in ((7, "another"), (7, ""), (8, "mine"), (7, "mine")):
        message = {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": request_id, "reason": "user"},
        }
        headers = [*MCP_HEADERS, ("Mcp-Session-Id", session)] if session else MCP_HEADERS
        assert (await other.request("POST", "/kb", json.dumps(message).encode(), headers)).status == 202
    sent_as = w.tool.seen[1].json["id"]
    assert [seen.json["params"]["requestId"] for seen in w.tool.seen[2:]] == [7, 7, 8, sent_as]
    assert w.tool.seen[5].json["params"]["reason"] == "user"
    release.set()
    assert (await agent.answer()).json["id"] == 7
    assert w.pipeline._canceller._sent_as == {}


async def test_without_a_session_nobody_knows_whose_call_is_taken_back(w: World) -> None:
    async def hangs(exchange: Exchange) -> None:
        if exchange.seen.json["method"] == "tools/call":
            await exchange.closed()
        else:
            await exchange.answer(202, b"", "")

    w.tool.script = first(reset, then=hangs)
    agent, other = await w.agent(), await w.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    await until(lambda: len(w.tool.seen) == 2)
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    await other.request("POST", "/kb", json.dumps(message).encode(), MCP_HEADERS)
    assert w.tool.seen[2].json == message


async def test_a_bare_server_error_after_the_last_attempt_is_a_result(w: World) -> None:
    async def page(exchange: Exchange) -> None:
        await exchange.answer(503, b"<html>down</html>", "text/html")

    w.tool.script = page
    answer = await (await w.agent()).call()
    assert answer.meta["toolpolicy.dev/reason"] == "ServerError"
    assert len(w.tool.seen) == 3
