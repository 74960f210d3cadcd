"""Every reason, once, as an agent meets it: status, body, record; and the connection is usable afterwards."""

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator

import pytest

from localcluster.ports import free_port
from tests.unit.datapath.loopback import (
    MCP_HEADERS,
    Agent,
    Answer,
    Exchange,
    World,
    breaker,
    by_hand,
    redaction,
    rules,
    tools_call,
    until,
    world,
)
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.reasons import MEANINGS, Reason

JSON = [("Content-Type", "application/json")]


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world(Limits(body_bytes=64 * 1024, header_bytes=4096)) as made:
        yield made


async def usable(agent: Agent) -> None:
    """The connection is in order: the next request on it is answered."""
    assert (await agent.request("GET", "/api//")).json["reason"] == "MalformedRequest"


def problem(answer: Answer, reason: Reason) -> str:
    """RFC 9457, and the reason's own status."""
    assert answer.header("Content-Type") == "application/problem+json"
    assert answer.status == MEANINGS[reason].status == answer.json["status"]
    assert answer.json["reason"] == reason
    assert answer.json["type"].endswith(f"/{reason}")
    assert answer.json["title"] == MEANINGS[reason].title
    return str(answer.json["detail"])


# Refused: the server never saw it


async def test_unknown_server(w: World) -> None:
    agent = await w.agent()
    answer = await agent.request("GET", "/nowhere/x")
    detail = problem(answer, Reason.UnknownServer)
    assert "'nowhere'" in detail
    assert "api, kb" in detail
    assert [refusal.reason for refusal in w.recorded.refusals] == [Reason.UnknownServer]
    await usable(agent)


async def test_method_not_listed(w: World) -> None:
    agent = await w.agent()
    answer = await agent.request("DELETE", "/api/v1/tickets/5")
    problem(answer, Reason.MethodNotListed)
    assert answer.header("Allow") == "GET, POST"
    record = await w.recorded_call()
    assert (record.tool, record.outcome, record.reason, record.status) == (
        "*",
        "refused",
        "MethodNotListed",
        405,
    )
    assert not w.tool.seen
    await usable(agent)


async def test_tool_disabled_by_policy(w: World) -> None:
    w.install(tool_rules=rules(enabled=False, criticality="Optional"))
    agent = await w.agent()
    answer = await agent.call()
    assert answer.status == 200
    assert answer.json["id"] == 7
    assert "search is disabled" in answer.text
    assert "go on without it" in answer.text
    assert answer.meta["toolpolicy.dev/reason"] == "ToolDisabled"
    http = await agent.request("GET", "/api/v1/tickets/5")
    problem(http, Reason.ToolDisabled)
    assert http.json["criticality"] == "Optional"
    assert (http.json["policy"], http.json["server"], http.json["tool"]) == ("support/agent", "api", "ticket")
    assert (await w.recorded_call(2)).outcome == "refused"
    assert not w.tool.seen
    await usable(agent)


async def test_tool_disabled_by_hand(w: World) -> None:
    runtime = w.current.runtime
    assert runtime
    runtime.circuit("ticket").impose(by_hand("maintenance", 90.0))
    agent = await w.agent()
    answer = await agent.request("GET", "/api/v1/tickets/5")
    problem(answer, Reason.ToolDisabled)
    assert 80 <= int(answer.header("Retry-After") or 0) <= 90
    runtime.circuit("ticket").lift("enabled by hand")
    assert (await agent.request("GET", "/api/v1/tickets/5")).status == 200


async def test_circuit_open(w: World) -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.answer(500, b"{}")

    w.install(tool_rules=rules(breaker=breaker(2)))
    w.tool.script = broken
    agent = await w.agent()
    for _ in range(2):
        assert (await agent.request("GET", "/api/v1/tickets/5")).status == 500
    answer = await agent.request("GET", "/api/v1/tickets/5")
    problem(answer, Reason.CircuitOpen)
    assert 55 <= int(answer.header("Retry-After") or 0) <= 60
    assert len(w.tool.seen) == 2
    record = await w.recorded_call(3)
    assert (record.outcome, record.reason, record.attempts) == ("refused", "CircuitOpen", 0)
    assert [(t.before, t.after) for t in w.recorded.transitions] == [("Closed", "Open")]
    assert w.recorded.transitions[0].last_error == "ServerError: HTTP 500"
    await usable(agent)


async def test_circuit_open_as_the_model_reads_it(w: World) -> None:
    w.install(tool_rules=rules(breaker=breaker(1)), port=free_port())
    agent = await w.agent()
    first = await agent.call()
    assert first.meta["toolpolicy.dev/reason"] == "ConnectRefused"
    second = await agent.call()
    assert second.meta["toolpolicy.dev/reason"] == "CircuitOpen"
    assert second.meta["toolpolicy.dev/policy"] == "support/agent"
    assert second.meta["toolpolicy.dev/tool"] == "search"
    assert 55 <= second.meta["toolpolicy.dev/retryAfterSeconds"] <= 60
    assert "is not called for now" in second.text
    assert "Try again in" in second.text


async def test_no_policy(w: World) -> None:
    w.current.runtime = None
    agent = await w.agent()
    answer = await agent.request("POST", "/kb", tools_call(), MCP_HEADERS)
    problem(answer, Reason.NoPolicy)
    assert answer.header("Retry-After") == "1"
    w.install()
    await usable(agent)


@pytest.mark.parametrize(
    "target", ["/api//x", "/api/../x", "/api/%2e%2e/x", "/api/a%2Fb", "/api/a;b", "/api/%zz"]
)
async def test_malformed_request(w: World, target: str) -> None:
    agent = await w.agent()
    problem(await agent.request("GET", target), Reason.MalformedRequest)
    assert not w.tool.seen
    await usable(agent)


async def test_malformed_json(w: World) -> None:
    agent = await w.agent()
    answer = await agent.request("POST", "/kb", b'{"jsonrpc": "2.0", "id": 1, "method', JSON)
    assert answer.status == 400
    assert answer.json["error"]["code"] == -32700
    assert answer.json["id"] is None
    assert answer.json["error"]["data"] == {"reason": "MalformedRequest"}
    assert [refusal.reason for refusal in w.recorded.refusals] == [Reason.MalformedRequest]
    await usable(agent)


async def test_batch_refused(w: World) -> None:
    agent = await w.agent()
    answer = await agent.request("POST", "/kb", b"[" + tools_call() + b"]", JSON)
    assert answer.status == 400
    assert answer.json["error"]["code"] == -32600
    assert answer.json["error"]["data"]["reason"] == "BatchRefused"
    assert not w.tool.seen
    await usable(agent)


@pytest.mark.parametrize(
    "headers",
    [
        [("Mcp-Method", "tools/list")],
        [("Mcp-Name", "other")],
        [("Mcp-Name", "=?base64?b3RoZXI=?=")],
        [("Mcp-Name", "search"), ("mcp-name", "search")],
        [("Mcp-Param-Q", "=?base64?SGVsbG8?=")],
        [("Mcp-Param-Q", "=?base64?SGVs!!!bG8=?=")],
    ],
)
async def test_header_mismatch(w: World, headers: list[tuple[str, str]]) -> None:
    agent = await w.agent()
    answer = await agent.call(headers=headers)
    assert answer.status == 400
    assert answer.json["id"] == 7
    assert answer.json["error"]["code"] == -32020
    assert answer.json["error"]["data"]["reason"] == "HeaderMismatch"
    assert not w.tool.seen
    await usable(agent)


async def test_headers_that_agree_pass(w: World) -> None:
    agent = await w.agent()
    for name in ("search", "=?base64?c2VhcmNo?="):
        answer = await agent.call(headers=[("Mcp-Method", "tools/call"), ("Mcp-Name", name)])
        assert answer.status == 200


@pytest.mark.parametrize("target", ["/kb", "/api/v1/tickets/5"])
async def test_body_too_large_by_its_own_word(w: World, target: str) -> None:
    agent = await w.agent()
    await agent.send("POST", target, b"", [*JSON, ("Content-Length", str(64 * 1024 + 1))])
    problem(await agent.answer(), Reason.BodyTooLarge)
    assert not w.tool.seen


@pytest.mark.parametrize("target", ["/kb", "/api/v1/tickets/5"])
async def test_body_too_large_in_fact(w: World, target: str) -> None:
    agent = await w.agent()
    chunks = b"".join(b"%x\r\n%b\r\n" % (8192, b" " * 8192) for _ in range(9)) + b"0\r\n\r\n"
    await agent.send("POST", target, chunks, [*JSON, ("Transfer-Encoding", "chunked")])
    problem(await agent.answer(), Reason.BodyTooLarge)
    if target != "/kb":
        record = await w.recorded_call()
        assert (record.outcome, record.reason) == ("refused", "BodyTooLarge")


@pytest.mark.parametrize(
    "head", [b"X-Long: " + b"a" * 5000, b"\r\n".join(b"X-%d: a" % i for i in range(200))]
)
async def test_header_too_large(w: World, head: bytes) -> None:
    agent = await w.agent()
    await agent.raw(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
    problem(await agent.answer(), Reason.HeaderTooLarge)
    assert [refusal.reason for refusal in w.recorded.refusals] == [Reason.HeaderTooLarge]


async def test_unsupported_encoding(w: World) -> None:
    agent = await w.agent()
    for encoding in ("br", "gzip, gzip", "snappy"):
        answer = await agent.request("POST", "/kb", tools_call(), [*JSON, ("Content-Encoding", encoding)])
        assert answer.status == 415
        assert answer.json["error"]["data"]["reason"] == "UnsupportedEncoding"
    assert not w.tool.seen
    await usable(agent)


async def test_gzip_is_read(w: World) -> None:
    agent = await w.agent()
    answer = await agent.request(
        "POST", "/kb", gzip.compress(tools_call()), [*JSON, ("Content-Encoding", "gzip")]
    )
    assert answer.status == 200
    assert w.tool.seen[0].body == tools_call()
    assert w.tool.seen[0].header("Content-Encoding") is None
    bomb = gzip.compress(b" " * 2**22)
    answer = await agent.request("POST", "/kb", bomb, [*JSON, ("Content-Encoding", "gzip")])
    assert answer.json["error"]["data"]["reason"] == "BodyTooLarge"


async def test_request_unscannable(w: World) -> None:
    w.install(redaction=redaction())
    agent = await w.agent()
    answer = await agent.request(
        "POST", "/api/v1/tickets/5", b"\xff\xfe\x00", [("Content-Type", "image/png")]
    )
    problem(answer, Reason.RequestUnscannable)
    assert (await w.recorded_call()).reason == "RequestUnscannable"
    assert not w.tool.seen
    await usable(agent)


async def test_request_blocked(w: World) -> None:
    w.install(redaction=redaction(action="Block"))
    agent = await w.agent()
    answer = await agent.call(query="sk-canary12345678")
    assert answer.meta["toolpolicy.dev/reason"] == "RequestBlocked"
    assert "key (1)" in answer.text
    body = b'{"title": "sk-canary12345678"}'
    detail = problem(await agent.request("POST", "/api/v1/tickets/5", body, JSON), Reason.RequestBlocked)
    assert "key (1)" in detail
    assert "canary" not in answer.text + detail
    assert (await w.recorded_call(2)).outcome == "refused"
    assert not w.tool.seen
    await usable(agent)


async def test_request_timeout() -> None:
    async with world(Limits(request_s=0.3)) as w:
        agent = await w.agent()
        await agent.send("POST", "/kb", b"{", [*JSON, ("Content-Length", "100")])
        problem(await agent.answer(), Reason.RequestTimeout)
        assert [refusal.reason for refusal in w.recorded.refusals] == [Reason.RequestTimeout]


async def test_draining(w: World) -> None:
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await release.wait()
        await exchange.answer(200, b"{}")

    w.tool.script = slow
    busy, idle = await w.agent(), await w.agent()
    await busy.send("GET", "/api/v1/tickets/5")
    await idle.send("GET", "/api/v1/tickets/6")
    await until(lambda: len(w.tool.seen) == 2)
    draining = asyncio.ensure_future(w.listener.drain(10.0))
    await asyncio.sleep(0.02)
    release.set()
    assert (await idle.answer()).status == 200
    assert (await busy.answer()).status == 200
    await asyncio.wait_for(draining, 10)
    with pytest.raises(OSError):
        await Agent.connect(w.port)


async def test_a_stream_that_only_waits_does_not_hold_up_the_end(w: World) -> None:
    async def push(exchange: Exchange) -> None:
        await exchange.events(b": hi\n\n")
        await exchange.closed()

    w.tool.script = push
    agent = await w.agent()
    await agent.send("GET", "/kb")
    assert (await agent.head()).status == 200
    await asyncio.wait_for(w.listener.drain(60.0), 10)
    await until(lambda: w.current.in_flight.requests == 0)


async def test_a_connection_on_which_nothing_is_asked_is_closed() -> None:
    async with world(Limits(keep_alive_s=10)) as w:
        agent, other = await w.agent(), await w.agent()
        await usable(other)
        w.turn(10)
        for each in (agent, other):
            async with asyncio.timeout(10):
                assert await each.reader.read() == b""


async def test_what_comes_while_draining_is_refused(w: World) -> None:
    agent, other = await w.agent(), await w.agent()
    await usable(other)
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await release.wait()
        await exchange.answer(200, b"{}")

    w.tool.script = slow
    await agent.send("GET", "/api/v1/tickets/5")
    await until(lambda: w.tool.seen)
    draining = asyncio.ensure_future(w.listener.drain(10.0))
    await asyncio.sleep(0.02)
    answer = await other.request("GET", "/api/v1/tickets/6")
    problem(answer, Reason.Draining)
    assert answer.header("Connection") == "close"
    release.set()
    assert (await agent.answer()).status == 200
    await asyncio.wait_for(draining, 10)


# Failed: tried, and no answer to pass on


async def both(w: World, reason: Reason) -> None:
    """The same failure as a model and as an HTTP client see it, and as it is recorded."""
    agent = await w.agent()
    result = await agent.call()
    assert result.status == 200
    assert result.meta["toolpolicy.dev/reason"] == reason
    assert "search" in result.text
    http = await agent.request("GET", "/api/v1/tickets/5")
    detail = problem(http, reason)
    assert "ticket" in detail
    record = await w.recorded_call(2)
    assert (record.outcome, record.reason, record.attempts) == ("failure", reason, 1)
    print(f"{reason}: {result.text}")


async def test_name_not_resolved(w: World) -> None:
    w.install(host="nowhere.invalid")
    await both(w, Reason.NameNotResolved)


async def test_connect_refused(w: World) -> None:
    w.install(port=free_port())
    await both(w, Reason.ConnectRefused)


async def test_tls_failed(w: World) -> None:
    w.install(scheme="https")
    w.tool.greeting = b"HTTP/1.1 400 this is no TLS\r\n\r\n"
    await both(w, Reason.TlsFailed)


async def test_connect_timeout(w: World) -> None:
    """A listener that never accepts: its queue is full."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)  # noqa: FBT003 -- the standard library's signature
            filler.connect_ex(deaf.getsockname())
        await asyncio.sleep(0.05)
        w.install(tool_rules=rules(connect_ms=100), port=deaf.getsockname()[1])
        await both(w, Reason.ConnectTimeout)
        for filler in fillers:
            filler.close()


async def hang(exchange: Exchange) -> None:
    await exchange.closed()


async def test_attempt_timeout(w: World) -> None:
    w.install(tool_rules=rules(attempt_ms=100))
    w.tool.script = hang
    await both(w, Reason.AttemptTimeout)


async def test_total_timeout(w: World) -> None:
    w.install(tool_rules=rules(total_ms=100, attempt_ms=100))
    w.tool.script = hang
    await both(w, Reason.TotalTimeout)


async def test_idle_timeout_before_anything_was_passed_on(w: World) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.raw(
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a'
        )
        await exchange.closed()

    w.install(tool_rules=rules(idle_ms=100), redaction=redaction())
    w.tool.script = half
    await both(w, Reason.IdleTimeout)


async def test_connection_reset(w: World) -> None:
    async def reset(exchange: Exchange) -> None:
        exchange.reset()

    w.tool.script = reset
    await both(w, Reason.ConnectionReset)


async def test_incomplete_answer(w: World) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.raw(
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a'
        )
        exchange.reset()

    w.install(redaction=redaction())
    w.tool.script = half
    await both(w, Reason.IncompleteAnswer)


async def test_malformed_answer(w: World) -> None:
    async def nonsense(exchange: Exchange) -> None:
        await exchange.raw(b"SMTP ready\r\n\r\n")

    w.tool.script = nonsense
    await both(w, Reason.MalformedAnswer)


async def test_answer_that_is_no_jsonrpc(w: World) -> None:
    async def page(exchange: Exchange) -> None:
        await exchange.answer(200, b"<html>welcome</html>", "text/html")

    w.tool.script = page
    agent = await w.agent()
    answer = await agent.call()
    assert answer.meta["toolpolicy.dev/reason"] == "MalformedAnswer"
    assert (await w.recorded_call()).reason == "MalformedAnswer"
    await usable(agent)


async def test_answer_too_large(w: World) -> None:
    async def large(exchange: Exchange) -> None:
        await exchange.answer(200, json.dumps({"a": "x" * 70_000}).encode())

    w.install(redaction=redaction())
    w.tool.script = large
    await both(w, Reason.AnswerTooLarge)


async def test_answer_in_an_encoding_that_nobody_asked_for(w: World) -> None:
    async def encoded(exchange: Exchange) -> None:
        await exchange.answer(200, b"\x00\x01", "application/octet-stream", Content_Encoding="br")

    w.install(redaction=redaction())
    w.tool.script = encoded
    await both(w, Reason.AnswerEncodingUnsupported)


async def test_answer_unscannable(w: World) -> None:
    async def picture(exchange: Exchange) -> None:
        await exchange.answer(200, b"\x89PNG", "image/png")

    w.install(redaction=redaction())
    w.tool.script = picture
    problem(await (await w.agent()).request("GET", "/api/v1/tickets/5"), Reason.AnswerUnscannable)


@pytest.mark.parametrize(
    ("body", "ends"),
    [(b'{"a": ', "Unparsable"), (b"[" * 200 + b"]" * 200, "TooDeep")],
)
async def test_each_kind_of_what_cannot_be_read_has_its_own_reason(w: World, body: bytes, ends: str) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, body)

    w.install(redaction=redaction())
    w.tool.script = says
    agent = await w.agent()
    sent = await agent.request("POST", "/api/v1/tickets/5", body, [("Content-Type", "application/json")])
    problem(sent, Reason(f"Request{ends}"))
    assert not w.tool.seen
    problem(await agent.request("GET", "/api/v1/tickets/5"), Reason(f"Answer{ends}"))
    assert w.recorded.calls[0].reason == f"Request{ends}"


async def test_answer_blocked(w: World) -> None:
    async def secret(exchange: Exchange) -> None:
        result = {
            "jsonrpc": "2.0",
            "id": 1,
            "result": {"content": [{"type": "text", "text": "sk-canary12345678"}]},
        }
        await exchange.answer(200, json.dumps(result).encode())

    w.install(redaction=redaction(action="Block"))
    w.tool.script = secret
    await both(w, Reason.AnswerBlocked)


async def test_internal_error(
    w: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of our own: readable, recorded, logged without a value, and not held against the tool."""

    async def broken(*args: object, **more: object) -> None:
        raise KeyError("a bug")

    w.install(tool_rules=rules(breaker=breaker(1)))
    monkeypatch.setattr(w.pool, "exchange", broken)
    agent = await w.agent()
    answer = await agent.call(query="sk-canary12345678")
    assert answer.meta["toolpolicy.dev/reason"] == "InternalError"
    problem(await agent.request("GET", "/api/v1/tickets/5"), Reason.InternalError)
    problem(await agent.request("GET", "/kb"), Reason.InternalError)
    assert [record.reason for record in w.recorded.calls] == ["InternalError"] * 2
    assert w.recorded.transitions == []
    assert "a bug" in caplog.text
    assert "canary" not in caplog.text


# Passed on: the agent has the tool's own answer


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        (500, "ServerError", "failure"),
        (501, "ServerError", "failure"),
        (429, "Throttled", "failure"),
        (404, "ClientError", "neutral"),
    ],
)
async def test_what_the_tool_says_passes(w: World, status: int, reason: str, outcome: str) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(status, b'{"why":"so"}', Retry_After="3")

    w.tool.script = says
    agent = await w.agent()
    answer = await agent.request("GET", "/api/v1/tickets/5")
    assert (answer.status, answer.json, answer.header("Retry-After")) == (status, {"why": "so"}, "3")
    record = await w.recorded_call()
    assert (record.outcome, record.reason, record.status) == (outcome, reason, status)


async def test_a_bare_server_error_becomes_a_result_of_mcp(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(503, b"<html>down for maintenance</html>", "text/html")

    w.tool.script = says
    agent = await w.agent()
    answer = await agent.call()
    assert answer.status == 200
    assert answer.meta["toolpolicy.dev/reason"] == "ServerError"
    assert "HTTP 503" in answer.text
    assert "maintenance" not in answer.text
    record = await w.recorded_call()
    assert (record.outcome, record.reason) == ("failure", "ServerError")


async def test_a_server_error_that_speaks_jsonrpc_passes(w: World) -> None:
    body = b'{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"oops"}}'

    async def says(exchange: Exchange) -> None:
        await exchange.answer(500, body)

    w.tool.script = says
    answer = await (await w.agent()).call()
    assert (answer.status, answer.body) == (500, body)
    assert (await w.recorded_call()).reason == "ServerError"


@pytest.mark.parametrize("status", [202, 400, 401, 404, 405])
async def test_what_the_protocol_says_by_status_passes(w: World, status: int) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(status, b"", "", WWW_Authenticate="Bearer")

    w.tool.script = says
    answer = await (await w.agent()).call()
    assert (answer.status, answer.body) == (status, b"")
    assert answer.header("WWW-Authenticate") == "Bearer"


async def test_tool_error(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.result("no such article", isError=True)

    w.tool.script = says
    agent = await w.agent()
    answer = await agent.call()
    assert answer.json["result"]["content"][0]["text"] == "no such article"
    record = await w.recorded_call()
    assert (record.reason, record.status) == ("ToolError", 200)


async def test_client_gone(w: World) -> None:
    gone = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.closed()
        gone.set()

    w.install(tool_rules=rules(breaker=breaker(1)))
    w.tool.script = waits
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    await until(lambda: w.tool.seen)
    agent.close()
    await asyncio.wait_for(gone.wait(), 10)  # the tool's server learns of it
    record = await w.recorded_call()
    assert (record.outcome, record.reason, record.status) == ("neutral", "ClientGone", 499)
    assert not w.recorded.transitions
    assert w.current.in_flight.requests == 0
