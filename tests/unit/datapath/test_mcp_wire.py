"""MCP as it is on the wire: what passes untouched, what is redacted, and how every stream ends."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.datapath.loopback import (
    MCP_HEADERS,
    Agent,
    Answer,
    Exchange,
    World,
    breaker,
    redaction,
    rules,
    tools_call,
    until,
    world,
)
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.mcp import sse

SECRET = "sk-canary12345678"
MODERN = [("MCP-Protocol-Version", "2026-07-28")]
LEGACY = [("MCP-Protocol-Version", "2025-11-25"), ("Mcp-Session-Id", "s-1"), ("Authorization", "Bearer t")]
NOTE = (
    b'{"jsonrpc":"2.0","method":"notifications/progress",'
    b'"params":{"progressToken":"sk-canary12345678","message":"m sk-canary12345678"}}'
)


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world(Limits(body_bytes=512 * 1024)) as made:
        yield made


async def event_stream(agent: Agent, head: Answer | None = None) -> list[sse.Event]:
    """The whole answer, as events; that it has an end is asserted by reading it to the end."""
    answer = await (agent.rest(head) if head else agent.answer())
    assert (answer.status, answer.header("Content-Type")) == (200, "text/event-stream")
    splitter = sse.Splitter(2**24)
    events = splitter.feed(answer.body)
    assert splitter.rest() == b""
    return events


def data(event: sse.Event) -> Any:
    return json.loads(event.data or b"null")


# What is no tool call


@pytest.mark.parametrize(
    "message",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"a":"sk-canary12345678"}}',
        b' {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}\n',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
        b'{"jsonrpc":"2.0","id":"s","result":{"content":"sk-canary12345678"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"server/discover"}',
    ],
)
async def test_other_messages_pass_byte_for_byte(w: World, message: bytes) -> None:
    w.install(redaction=redaction(), tool_rules=rules(enabled=False))
    body = b'{"jsonrpc":"2.0","id":1,"result":{"x":"sk-canary12345678"}}'

    async def says(exchange: Exchange) -> None:
        await exchange.answer(202, body, X_Accel_Buffering="no", Mcp_Session_Id="s-2")

    w.tool.script = says
    headers = [*MCP_HEADERS, *LEGACY, ("X-Unknown", "1"), ("Last-Event-ID", "9"), ("Origin", "http://o")]
    answer = await (await w.agent()).request("POST", "/kb?q=1", message, headers)
    seen = w.tool.seen[0]
    assert (seen.body, seen.target) == (message, "/mcp?q=1")
    plain = [*(h for h in headers if h[0] != "Accept-Encoding"), ("Accept-Encoding", "identity")]
    assert [h for h in seen.headers if h[0] not in {"Host", "Content-Length"}] == plain
    assert (answer.status, answer.body) == (202, body)
    assert (answer.header("X-Accel-Buffering"), answer.header("Mcp-Session-Id")) == ("no", "s-2")
    assert w.recorded.calls == []


READ = {"contents": [{"uri": "file:///a", "text": f"x {SECRET}", "blob": "c2stY2FuYXJ5MTIzNDU2Nzg="}]}
PROMPT = {"messages": [{"role": "user", "content": {"type": "text", "text": f"x {SECRET}"}}]}


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize(("method", "result"), [("resources/read", READ), ("prompts/get", PROMPT)])
async def test_resources_and_prompts_are_redacted(
    w: World, method: str, result: dict[str, Any], kind: str
) -> None:
    w.install(redaction=redaction(), tool_rules=rules(enabled=False))
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()

    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, message if kind.endswith("json") else b"data: %b\n\n" % message, kind)

    w.tool.script = says
    asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"uri": "file:///a"}}).encode()
    answer = await (await w.agent()).request("POST", "/kb", asked, LEGACY)
    assert answer.status == 200
    assert b"x [key]" in answer.body
    assert SECRET.encode() not in answer.body
    assert b"c2stY2FuYXJ5" not in answer.body
    told = [(message.policy, message.server, dict(message.hits)) for message in w.recorded.messages]
    assert told == [("support/agent", "kb", {"key": told[0][2]["key"]})]


async def test_contents_that_cannot_be_read_are_not_vouched_for(w: World) -> None:
    w.install(redaction=redaction())

    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, b"no message", "application/json")

    w.tool.script = says
    asked = b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a"}}'
    answer = await (await w.agent()).request("POST", "/kb", asked, LEGACY)
    assert b"no message" not in answer.body
    assert b"AnswerUnparsable" in answer.body


@pytest.mark.parametrize("method", ["initialize", "tools/list", "resources/list", "completion/complete"])
async def test_errors_of_other_messages_are_redacted_and_their_results_are_not(w: World, method: str) -> None:
    w.install(redaction=redaction())
    error = {"code": -32602, "message": f"bad {SECRET}", "data": {"at": [SECRET]}}
    said = {"jsonrpc": "2.0", "id": 1, "error": error}

    async def says(exchange: Exchange) -> None:
        await exchange.answer(400 if "error" in said else 200, json.dumps(said).encode())

    w.tool.script = says
    asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode()
    agent = await w.agent()
    answer = await agent.request("POST", "/kb", asked, LEGACY)
    assert (answer.status, answer.json["error"]) == (
        400,
        {"code": -32602, "message": "bad [key]", "data": {"at": ["[key]"]}},
    )
    del said["error"]
    said["result"] = {"x": SECRET}
    assert (await agent.request("POST", "/kb", asked, LEGACY)).json == said


@pytest.mark.parametrize("status", [200, 202, 400, 404, 405, 503])
@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_statuses_of_other_messages_pass(w: World, method: str, status: int) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(status, b"as it is", "text/plain")

    w.tool.script = says
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}' if method == "POST" else None
    answer = await (await w.agent()).request(method, "/kb", body, LEGACY)
    assert (answer.status, answer.body, w.tool.seen[0].method) == (status, b"as it is", method)


async def test_other_messages_to_a_server_that_is_away(w: World) -> None:
    await w.tool.stop()
    agent = await w.agent()
    answer = await agent.request(
        "POST", "/kb", b'{"jsonrpc":"2.0","id":1,"method":"initialize"}', MCP_HEADERS
    )
    assert (answer.status, answer.json["reason"], answer.json["server"]) == (502, "ConnectRefused", "kb")
    assert [refusal.reason for refusal in w.recorded.refusals] == ["ConnectRefused"]
    assert (await agent.request("GET", "/kb")).status == 502


async def test_the_stream_of_the_server_has_no_total_time_and_is_redacted(w: World) -> None:
    w.install(unlisted=rules(total_ms=100, attempt_ms=100, idle_ms=50), redaction=redaction(apply="Response"))
    result = (
        b'{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"late sk-canary12345678"}]}}'
    )

    async def says(exchange: Exchange) -> None:
        assert exchange.seen.header("Last-Event-ID") == "3"
        await exchange.events(b": hi\n", b"id: 4\ndata: " + NOTE + b"\n\n")
        await asyncio.sleep(0.3)
        await exchange.chunks(b"id: 5\ndata: " + result[:60], result[60:] + b"\n\n")
        await exchange.end()

    w.tool.script = says
    agent = await w.agent()
    await agent.send("GET", "/kb", None, [*LEGACY, ("Last-Event-ID", "3"), ("Accept", "text/event-stream")])
    note, late = await event_stream(agent)
    assert note.raw.startswith(b": hi\nid: 4\n")
    assert data(note)["params"] == {"progressToken": SECRET, "message": "m [key]"}  # a token is no text
    assert data(late)["result"]["content"][0]["text"] == "late [key]"
    assert w.recorded.calls == []


# What cannot say two things


@pytest.mark.parametrize(
    "message",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"search"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"free","name":"search"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","meth\\u006fd":"tools/call","params":{"name":"search"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"free"},"params":{"name":"search"}}',
    ],
)
async def test_a_repeated_member_says_the_same_to_policy_and_server(w: World, message: bytes) -> None:
    agent = await w.agent()
    assert (await agent.request("POST", "/kb", message, MCP_HEADERS)).status == 200
    sent = json.loads(w.tool.seen[0].body, object_pairs_hook=lambda pairs: pairs)
    assert sorted(name for name, _ in sent) == ["id", "jsonrpc", "method", "params"]
    assert dict(sent)["params"] == [("name", "search")]
    w.install(tool_rules=rules(enabled=False))
    answer = await agent.request("POST", "/kb", message, MCP_HEADERS)
    assert answer.meta["toolpolicy.dev/reason"] == "ToolDisabled"
    assert len(w.tool.seen) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        b'{"q":1},"arguments":{"q":2}',
        b'{"q":2},"arguments":{"q":2}',
        b'{},"argu\\u006dents":{"q":2}',
        b'{"arguments":{"q":2}},"arguments":{"q":2}',
    ],
)
async def test_repeated_arguments_are_the_last_ones(w: World, arguments: bytes) -> None:
    message = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":%b}}'
        % arguments
    )
    assert (await (await w.agent()).request("POST", "/kb", message, MCP_HEADERS)).status == 200
    sent = json.loads(w.tool.seen[0].body, object_pairs_hook=lambda pairs: pairs)
    assert sorted(dict(sent)["params"]) == [("arguments", [("q", 2)]), ("name", "search")]


async def test_what_arguments_are_called_is_the_tools_own_business(w: World) -> None:
    message = (
        b'{"jsonrpc" : "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments":'
        b' {"id": 1.50, "name": "caf\\u00e9", "method": {"params": "x", "params": "y"}, "q": "sk-abcdefgh1"}}}'
    )
    agent = await w.agent()
    assert (await agent.request("POST", "/kb", message, MCP_HEADERS)).status == 200
    assert w.tool.seen[0].body == message
    w.install(redaction=redaction(apply="Request"))
    assert (await agent.request("POST", "/kb", message, MCP_HEADERS)).status == 200
    assert w.tool.seen[1].body == message.replace(b"sk-abcdefgh1", b"[key]")


@pytest.mark.parametrize("identifier", [b"null", b"1.5", b"{}", b"[]", b"true"])
async def test_an_id_that_is_none(w: World, identifier: bytes) -> None:
    message = b'{"jsonrpc":"2.0","id":' + identifier + b',"method":"tools/call","params":{"name":"search"}}'
    answer = await (await w.agent()).request("POST", "/kb", message, MCP_HEADERS)
    assert (answer.status, answer.json["error"]["code"]) == (400, -32600)
    assert not w.tool.seen


async def test_a_call_without_an_id_is_refused(w: World) -> None:
    message = b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"search"}}'
    answer = await (await w.agent()).request("POST", "/kb", message, MCP_HEADERS)
    assert (answer.status, answer.json["error"]["code"]) == (400, -32600)
    assert not w.tool.seen


# Redaction


async def test_arguments_and_answers_to_questions_are_redacted_and_nothing_else(w: World) -> None:
    w.install(redaction=redaction(apply="Request"))
    params = {
        "name": "search",
        "arguments": {"q": f"a {SECRET}", "n": 1.50, SECRET: "k"},
        "inputResponses": {"ask": {"action": "accept", "content": {"token": SECRET}}},
        "requestState": f"opaque-{SECRET}",
        "_meta": {"progressToken": SECRET},
    }
    body = json.dumps({"jsonrpc": "2.0", "id": "7", "method": "tools/call", "params": params}).encode()
    mirrored = base64.b64encode(f"é {SECRET}".encode()).decode()
    headers = [("Mcp-Param-Q", f"a {SECRET}"), ("Mcp-Param-U", f"=?base64?{mirrored}?="), ("X-Own", SECRET)]
    answer = await (await w.agent()).request("POST", "/kb", body, [*MCP_HEADERS, *headers])
    assert answer.status == 200
    sent = w.tool.seen[0]
    assert sent.json["params"]["arguments"]["q"] == "a [key]"
    assert SECRET not in json.dumps(sent.json["params"]["arguments"])
    assert sent.json["params"]["inputResponses"] == {
        "ask": {"action": "accept", "content": {"token": "[key]"}}
    }
    assert sent.json["params"]["requestState"] == f"opaque-{SECRET}"
    assert sent.json["params"]["_meta"] == {"progressToken": SECRET}
    assert b"1.5" in sent.body
    assert (sent.header("Mcp-Param-Q"), sent.header("X-Own")) == ("a [key]", SECRET)
    unwrapped = (sent.header("Mcp-Param-U") or "").removeprefix("=?base64?").removesuffix("?=")
    assert base64.b64decode(unwrapped).decode() == "é [key]"
    record = await w.recorded_call()
    assert sum(record.redacted_request.values()) == 5
    assert SECRET not in "".join(record.argument_keys[:2])


async def test_a_result_and_an_error_are_redacted(w: World) -> None:
    w.install(redaction=redaction(apply="Response"))
    agent = await w.agent()

    async def result(exchange: Exchange) -> None:
        await exchange.result(
            f"x {SECRET}", structuredContent={"k": SECRET}, requestState=SECRET, _meta={"m": SECRET}
        )

    w.tool.script = result
    answer = await agent.call()
    assert answer.json["result"] == {
        "content": [{"type": "text", "text": "x [key]"}],
        "resultType": "complete",
        "structuredContent": {"k": "[key]"},
        "requestState": SECRET,
        "_meta": {"m": "[key]"},
    }

    async def error(exchange: Exchange) -> None:
        await exchange.answer(
            400, b'{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"bad sk-canary12345678"}}'
        )

    w.tool.script = error
    answer = await agent.call()
    assert (answer.status, answer.json["error"]["message"]) == (400, "bad [key]")


async def test_an_answer_without_hits_passes_byte_for_byte(w: World) -> None:
    body = b'{ "jsonrpc":"2.0", "id":7,"result":{"content":[], "x":1.500 ,"y":"\\u00e9"}}\n'

    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, body, "application/json; charset=utf-8", X_B="1")

    w.tool.script = says
    w.install(redaction=redaction())
    answer = await (await w.agent()).call()
    assert answer.body == body
    assert answer.header("X-B") == "1"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 4096])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
async def test_events_are_redacted_however_they_are_cut_and_ended(w: World, size: int, end: bytes) -> None:
    def lines(*lines: bytes) -> bytes:
        return b"".join(line + end for line in lines) + end

    done = b'{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"r sk-canary12345678"}]}}'
    cut = done.index(b'"result"')
    whole = (
        b"\xef\xbb\xbf"
        + lines(b": hi", b"id: 1", b"retry: 5", b"data: " + NOTE)
        + lines(b"event: message", b"data: " + done[:cut], b"data:" + done[cut:], b"id: 2")
    )

    async def says(exchange: Exchange) -> None:
        await exchange.events(
            *(whole[at : at + size] for at in range(0, len(whole), size)), X_Accel_Buffering="no"
        )
        await exchange.end()

    w.tool.script = says
    w.install(redaction=redaction())
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    answer = await agent.answer()
    assert answer.header("X-Accel-Buffering") == "no"
    text = answer.body.replace(end, b"\n")
    assert text.startswith(b"\xef\xbb\xbf: hi\nid: 1\nretry: 5\ndata: ")
    assert text.endswith(
        b"event: message\ndata: "
        + done[:cut]
        + b"\ndata: "
        + done[cut:].replace(SECRET.encode(), b"[key]")
        + b"\nid: 2\n\n"
    )
    assert answer.body.count(b"canary") == 1  # the progress token
    assert (await w.recorded_call()).redacted_response == {"key": 2}


# How answers end


async def test_a_json_answer_may_be_large(w: World) -> None:
    """Over what is held back it is streamed, and still whole."""
    text = "x" * 2**20

    async def says(exchange: Exchange) -> None:
        await exchange.result(text)

    w.tool.script = says
    answer = await (await w.agent()).call()
    assert answer.json["result"]["content"][0]["text"] == text
    assert (await w.recorded_call()).outcome == "success"


async def test_a_json_answer_that_breaks_off_is_a_result(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.raw(
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"jsonrpc"'
        )
        exchange.reset()

    w.tool.script = says
    answer = await (await w.agent()).call()
    assert answer.meta["toolpolicy.dev/reason"] == "IncompleteAnswer"
    assert "broke off" in answer.text


async def idle(exchange: Exchange) -> None:
    await exchange.events(b"data: " + NOTE + b"\n\n", b"data: {half")
    await exchange.closed()


async def cut(exchange: Exchange) -> None:
    await exchange.events(b"data: " + NOTE + b"\n\ndata: {half")
    await asyncio.sleep(0.05)
    exchange.reset()


async def unanswered(exchange: Exchange) -> None:
    await exchange.events(b"data: " + NOTE + b"\n\n")
    await exchange.end()


async def endless(exchange: Exchange) -> None:
    await exchange.events(b"data: " + NOTE + b"\n\n")
    for _ in range(64):
        await exchange.chunks(b"x" * 16384)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (idle, "IdleTimeout"),
        (cut, "IncompleteAnswer"),
        (unanswered, "IncompleteAnswer"),
        (endless, "AnswerTooLarge"),
    ],
)
@pytest.mark.parametrize("redacting", [False, True])
async def test_a_stream_that_fails_ends_with_a_result(
    w: World, script: Any, reason: str, redacting: bool
) -> None:
    times = {"total_ms": 1_000_000, "attempt_ms": 1_000_000, "idle_ms": 9_000}
    w.install(tool_rules=rules(breaker=breaker(9), **times), redaction=redaction() if redacting else None)
    w.tool.script = script
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(identifier="a"), [*MCP_HEADERS, *LEGACY])
    head = await agent.head()
    if script is idle:
        await w.turn_until(9, lambda: w.recorded.calls)
    events = await event_stream(agent, head)
    last = data(events[-1])
    assert last["id"] == "a"
    assert last["result"]["isError"] is True
    assert last["result"]["resultType"] == "complete"
    assert last["result"]["_meta"]["toolpolicy.dev/reason"] == reason
    assert [event for event in events[:-1] if event.data and b"half" in event.data] == []
    record = await w.recorded_call()
    assert (record.outcome, record.reason, record.status) == ("failure", reason, 200)
    w.tool.script = finishing
    assert (await agent.call()).status == 200  # the connection is in order


async def finishing(exchange: Exchange) -> None:
    await exchange.events(b"data: " + exchange.message() + b"\n\n")
    await exchange.end()


async def test_a_stream_that_can_be_resumed_just_ends(w: World) -> None:
    """Before 2026-07-28 a server may close after an event with an id; the agent goes on by GET."""

    async def polled(exchange: Exchange) -> None:
        await exchange.events(b"id: 1\nretry: 100\ndata:\n\n")
        await exchange.end()

    w.install(tool_rules=rules(breaker=breaker(1)))
    w.tool.script = polled
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(), [*MCP_HEADERS, *LEGACY])
    assert [event.raw for event in await event_stream(agent)] == [b"id: 1\nretry: 100\ndata:\n\n"]
    assert (await w.recorded_call()).outcome == "neutral"
    await agent.send("POST", "/kb", tools_call(), [*MCP_HEADERS, *MODERN])
    assert data((await event_stream(agent))[-1])["result"]["isError"] is True


async def test_what_fails_after_the_answer_is_only_an_end(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.events(b"data: " + exchange.message() + b"\n\n")
        await asyncio.sleep(0.05)
        exchange.reset()

    w.tool.script = says
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    (event,) = await event_stream(agent)
    assert data(event)["result"]["content"][0]["text"] == "fine"


@pytest.mark.parametrize("limit_ms", [50, 300])
@pytest.mark.parametrize("events", [False, True])
async def test_a_hanging_tool_comes_back_in_time(w: World, limit_ms: int, events: bool) -> None:
    async def hang(exchange: Exchange) -> None:
        if events:
            await exchange.events(b": working\n\n")
        await exchange.closed()

    w.install(tool_rules=rules(total_ms=limit_ms, attempt_ms=limit_ms))
    w.tool.script = hang
    agent = await w.agent()
    times = []
    for _ in range(2):
        started = time.perf_counter()
        assert b"TotalTimeout" in (await agent.call()).body
        times.append((time.perf_counter() - started) * 1000)
    print(f"\nlimit {limit_ms} ms: back after {', '.join(f'{ms:.1f}' for ms in times)} ms")
    assert min(times) >= limit_ms - 5


async def test_a_timeout_is_told_to_a_server_of_the_handshake_era(w: World) -> None:
    async def hang(exchange: Exchange) -> None:
        if b"tools/call" in exchange.seen.body:
            await exchange.closed()
        else:
            await exchange.answer(202, b"")

    w.tool.script = hang
    agent = await w.agent()

    async def late(body: bytes, *headers: tuple[str, str]) -> None:
        so_far = len(w.tool.seen)
        await agent.send("POST", "/kb", body, [*MCP_HEADERS, *headers])
        await until(lambda: len(w.tool.seen) > so_far)
        w.turn(10)
        assert b"TotalTimeout" in (await agent.answer()).body

    await late(tools_call(identifier="x"), *LEGACY)
    await until(lambda: len(w.tool.seen) == 2)
    told = w.tool.seen[1]
    assert told.json == {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": "x", "reason": "timed out"},
    }
    assert told.header("Mcp-Session-Id") == "s-1"
    assert told.header("MCP-Protocol-Version") == "2025-11-25"
    assert told.header("Authorization") == "Bearer t"
    await late(tools_call(), *MODERN)
    params = {"name": "search", "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
    await late(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode())
    await asyncio.sleep(0.1)
    assert len(w.tool.seen) == 4  # neither of the two was told anything


async def test_input_required_and_tasks_pass(w: World) -> None:
    w.install(tool_rules=rules(breaker=breaker(1)), redaction=redaction())
    for kind in ("input_required", "task"):
        body = json.dumps(
            {"jsonrpc": "2.0", "id": 7, "result": {"resultType": kind, "requestState": SECRET}}
        ).encode()

        async def says(exchange: Exchange, body: bytes = body) -> None:
            await exchange.answer(200, body)

        w.tool.script = says
        assert (await (await w.agent()).call()).body == body
    assert {record.outcome for record in w.recorded.calls} == {"success"}


async def test_mode_off_touches_nothing_of_mcp(w: World) -> None:
    w.install(mode="Off", redaction=redaction(), tool_rules=rules(enabled=False, total_ms=20, attempt_ms=20))
    body = tools_call(q=SECRET)

    async def says(exchange: Exchange) -> None:
        await asyncio.sleep(0.05)
        await exchange.answer(503, b"<p>down</p>", "text/html")

    w.tool.script = says
    answer = await (await w.agent()).request("POST", "/kb", body, [*MCP_HEADERS, ("Accept-Encoding", "gzip")])
    assert (answer.status, answer.body) == (503, b"<p>down</p>")
    assert (w.tool.seen[0].body, w.tool.seen[0].header("Accept-Encoding")) == (body, "gzip")
    assert (await w.recorded_call()).reason == "ServerError"
