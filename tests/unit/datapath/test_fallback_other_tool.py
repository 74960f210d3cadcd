"""Another tool in the place of the one that fails: what it is asked, by which rules, in which time."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.unit.datapath.loopback import (
    MCP_HEADERS,
    Answer,
    Exchange,
    Script,
    World,
    breaker,
    redaction,
    rules,
    tools_call,
    until,
)
from tests.unit.datapath.loopback import world as started_world
from toolpolicy_api.snapshot import (
    HttpMatch,
    McpMatch,
    Policy,
    Rules,
    Server,
    StaticFallback,
    Tool,
    ToolFallback,
)
from toolpolicy_sidecar.fallback.held import HELD_BYTES
from toolpolicy_sidecar.plan import InvalidSnapshot

SECRET = "sk-canary12345678"
TICKET = "/api/v1/tickets/5"


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with started_world() as made:
        yield made


def install(
    w: World,
    fallback: ToolFallback,
    *,
    match: HttpMatch | McpMatch | None = None,
    server: str = "",
    other_rules: Rules | None = None,
    first_rules: dict[str, Any] | None = None,
    **fields: Any,
) -> None:
    match = match or McpMatch("archive")
    server = server or ("kb" if isinstance(match, McpMatch) else "api")
    other = Tool("other", server, match, other_rules or rules())
    w.install(tool_rules=rules(fallback=fallback, **(first_rules or {})), more=(other,), **fields)


def name_of(exchange: Exchange) -> str:
    return str(exchange.seen.json["params"]["name"])


def mcp(other: Script) -> Script:
    """The first tool fails, the other one plays this."""

    async def script(exchange: Exchange) -> None:
        if name_of(exchange).startswith("search"):
            await exchange.answer(503, b"down")
        else:
            await other(exchange)

    return script


async def found(exchange: Exchange) -> None:
    await exchange.result("in the archive", structuredContent={"n": 1}, _meta={"own": 1})


async def by_events(exchange: Exchange) -> None:
    await exchange.events(b": hi\n\n", b'data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n')
    await exchange.chunks(b"data: " + exchange.message("in the archive") + b"\n\n")
    await exchange.end()


@pytest.mark.parametrize("other", [found, by_events])
async def test_an_mcp_tool_in_the_place_of_another(w: World, other: Script) -> None:
    install(w, ToolFallback("other", {"text": "query", "most": "limit", "gone": "no such"}))
    w.tool.script = mcp(other)
    answer = await (await w.agent()).call(query="a b", limit=3, secret="x")
    assert answer.json["id"] == 7
    result = answer.json["result"]
    assert not result.get("isError")
    assert result["content"][0]["text"] == "in the archive"
    assert "the answer of the tool other" in result["content"][1]["text"]
    meta = result["_meta"]
    assert (meta["toolpolicy.dev/fallback"], meta["toolpolicy.dev/fallbackTool"]) == ("Tool", "other")
    assert meta["toolpolicy.dev/tool"] == "search"
    if other is found:
        assert result["structuredContent"] == {"n": 1}
        assert meta["own"] == 1
    asked = w.tool.seen[1].json
    assert asked["params"] == {"name": "archive", "arguments": {"text": "a b", "most": 3}}
    assert asked["id"] == "7/fallback"
    await w.recorded_call(2)
    second, first = w.recorded.calls
    assert (first.tool, first.outcome, first.fallback, first.fallback_missed) == (
        "search",
        "failure",
        "Tool",
        None,
    )
    assert (second.tool, second.outcome, second.stands_for) == ("other", "success", "search")
    assert second.argument_keys == ("most", "text")


async def test_without_a_mapping_all_arguments_go_along(w: World) -> None:
    install(w, ToolFallback("other"))
    w.tool.script = mcp(found)
    await (await w.agent()).call(query="a", limit=3)
    assert w.tool.seen[1].json["params"]["arguments"] == {"query": "a", "limit": 3}


async def test_headers_of_the_new_protocol_agree_with_the_body(w: World) -> None:
    install(w, ToolFallback("other", {}), match=McpMatch("archive é"))
    w.tool.script = mcp(found)
    params = {
        "name": "search",
        "arguments": {"q": 1},
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "progressToken": 3},
    }
    body = json.dumps({"jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": params}).encode()
    headers = [
        ("Mcp-Name", "search"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Param-Q", "1"),
        ("Authorization", "Bearer mine"),
        ("Idempotency-Key", "first"),
    ]
    answer = await (await w.agent()).request("POST", "/kb", body, headers)
    assert answer.json["id"] == "x"
    seen = w.tool.seen[1]
    assert seen.header("Mcp-Name") == "=?base64?YXJjaGl2ZSDDqQ==?="
    assert seen.header("Mcp-Method") == "tools/call"
    assert seen.header("Authorization") == "Bearer mine"
    assert seen.header("Mcp-Param-Q") is None
    assert seen.header("Idempotency-Key") is None
    assert seen.json["id"] == "x/fallback"
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    assert seen.json["params"] == {"name": "archive é", "arguments": {}, "_meta": meta}


async def test_the_other_tool_has_its_own_circuit(w: World) -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.answer(500, b"{}")

    install(w, ToolFallback("other"), other_rules=rules(breaker=breaker(1)))
    w.tool.script = mcp(broken)
    agent = await w.agent()
    for _ in range(2):
        answer = await agent.call()
        assert answer.meta["toolpolicy.dev/reason"] == "ServerError"
        assert answer.text.startswith("The tool search failed")
    assert [name_of_seen(seen) for seen in w.tool.seen] == ["search", "archive", "search"]
    await w.recorded_call(4)
    assert [record.reason for record in w.recorded.calls] == [
        "ServerError",
        "ServerError",
        "CircuitOpen",
        "ServerError",
    ]
    assert {record.fallback_missed for record in w.recorded.calls if record.tool == "search"} == {
        "ToolFailed"
    }


def name_of_seen(seen: Any) -> str:
    return str(seen.json["params"]["name"])


async def test_both_are_redacted_both_ways(w: World) -> None:
    async def telling(exchange: Exchange) -> None:
        await exchange.result(f"the key is {SECRET}")

    install(w, ToolFallback("other"), redaction=redaction())
    w.tool.script = mcp(telling)
    answer = await (await w.agent()).call(key=SECRET)
    assert answer.json["result"]["content"][0]["text"] == "the key is [key]"
    assert [seen.json["params"]["arguments"] for seen in w.tool.seen] == [{"key": "[key]"}] * 2


async def test_within_the_time_of_the_first(w: World) -> None:
    called: list[str] = []

    async def hanging(exchange: Exchange) -> None:
        if b'"tools/call"' in exchange.seen.body:
            called.append(name_of(exchange))
        await exchange.closed()

    install(w, ToolFallback("other"), first_rules={"total_ms": 6_000, "attempt_ms": 4_000})
    w.tool.script = hanging
    agent = await w.agent()
    await agent.send("POST", "/kb", tools_call(), MCP_HEADERS)
    await until(lambda: called == ["search"])
    w.turn(4)
    await until(lambda: called == ["search", "archive"])
    w.turn(2)
    answer = await agent.answer()
    assert answer.meta["toolpolicy.dev/reason"] == "AttemptTimeout"
    record = await w.recorded_call(2)
    assert record.duration_ms >= 6_000  # the other tool alone may take 10 s
    assert record.fallback_missed == "ToolFailed"
    assert w.recorded.calls[0].reason == "TotalTimeout"


async def test_no_time_is_left_after_the_total(w: World) -> None:
    async def hanging(exchange: Exchange) -> None:
        await exchange.closed()

    install(w, ToolFallback("other"), first_rules={"total_ms": 100, "attempt_ms": 100})
    w.tool.script = hanging
    answer = await (await w.agent()).call()
    assert answer.meta["toolpolicy.dev/reason"] == "TotalTimeout"
    assert (await w.recorded_call()).fallback_missed == "NoTimeLeft"
    assert len(w.tool.seen) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"isError": True},
        {"resultType": "input_required"},
        {"content": [{"type": "text", "text": "x" * HELD_BYTES}]},
    ],
)
async def test_what_is_no_answer(w: World, other: dict[str, Any]) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.result("no", **other)

    install(w, ToolFallback("other"))
    w.tool.script = mcp(script)
    answer = await (await w.agent()).call()
    assert answer.meta["toolpolicy.dev/reason"] == "ServerError"
    assert (await w.recorded_call(2)).fallback_missed == "ToolFailed"


async def test_what_does_not_satisfy_the_schema_of_the_first(w: World) -> None:
    async def listing(exchange: Exchange) -> None:
        tools = [{"name": "search", "outputSchema": {"type": "object", "required": ["m"]}}]
        message = {"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}
        await exchange.answer(200, json.dumps(message).encode())

    install(w, ToolFallback("other"))
    w.tool.script = listing
    agent = await w.agent()
    await agent.request("POST", "/kb", b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
    w.tool.script = mcp(found)
    assert (await agent.call()).meta["toolpolicy.dev/reason"] == "ServerError"
    assert (await w.recorded_call(2)).fallback_missed == "SchemaMismatch"


async def test_the_other_one_may_have_a_fallback_too(w: World) -> None:
    install(w, ToolFallback("other"), other_rules=rules(fallback=StaticFallback("in stone")))

    async def broken(exchange: Exchange) -> None:
        exchange.reset()

    w.tool.script = broken
    result = (await (await w.agent()).call()).json["result"]
    assert result["content"][0]["text"] == "in stone"
    assert len(result["content"]) == 3
    assert result["_meta"]["toolpolicy.dev/fallback"] == "Tool"
    await w.recorded_call(2)
    assert [record.fallback for record in w.recorded.calls] == ["Static", "Tool"]


async def test_an_agent_that_hangs_up_ends_both(w: World) -> None:
    async def hanging(exchange: Exchange) -> None:
        agent.close()
        await exchange.closed()

    install(w, ToolFallback("other"))
    w.tool.script = mcp(hanging)
    agent = await w.agent()
    await agent.send("POST", "/kb", json.dumps(_call()).encode(), MCP_HEADERS)
    await w.recorded_call(2)
    assert {record.reason for record in w.recorded.calls} == {"ClientGone"}


def _call() -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": {}}}


# HTTP
def http(body: bytes = b"found", status: int = 200) -> Script:
    async def script(exchange: Exchange) -> None:
        if exchange.seen.target.startswith("/base/v1"):
            await exchange.answer(503, b"down")
        else:
            await exchange.answer(status, body, "text/plain", Own="yes")

    return script


@pytest.mark.parametrize(
    ("path", "mapping", "query", "target"),
    [
        ("/v2/{id}", None, "?a=1&b=x+y", "/base/v2/5?a=1&b=x+y"),
        ("/v2/{number}/x", {"number": "id"}, "?a=1", "/base/v2/5/x"),
        ("/v2/{a}", {"a": "a", "c": "b", "d": "id", "e": "gone"}, "?a=p%20q&b=2", "/base/v2/p%20q?c=2&d=5"),
        ("/v2", {}, "?a=1", "/base/v2"),
    ],
)
async def test_an_http_tool_in_the_place_of_another(
    w: World, path: str, mapping: dict[str, str] | None, query: str, target: str
) -> None:
    install(w, ToolFallback("other", mapping), match=HttpMatch(path))
    w.tool.script = http()
    answer = await (await w.agent()).request("GET", TICKET + query, headers=[("Authorization", "mine")])
    assert (answer.status, answer.body, answer.header("Own")) == (200, b"found", "yes")
    assert (marks(answer)) == ("Tool", "other", "ServerError")
    assert (w.tool.seen[1].method, w.tool.seen[1].target) == ("GET", target)
    assert w.tool.seen[1].header("Authorization") == "mine"


def marks(answer: Answer) -> tuple[str | None, ...]:
    names = ("Toolpolicy-Fallback", "Toolpolicy-Fallback-Tool", "Toolpolicy-Reason")
    return tuple(answer.header(name) for name in names)


@pytest.mark.parametrize(
    ("query", "mapping"), [("?a=x%2Fy", {"to": "a"}), ("?a=..", {"to": "a"}), ("", {"to": "a"}), ("", None)]
)
async def test_a_path_that_cannot_be_made(w: World, query: str, mapping: dict[str, str] | None) -> None:
    install(w, ToolFallback("other", mapping), match=HttpMatch("/v2/{to}"))
    w.tool.script = http()
    answer = await (await w.agent()).request("GET", TICKET + query)
    assert answer.status == 502
    assert (await w.recorded_call()).fallback_missed == "NotMapped"
    assert len(w.tool.seen) == 1


async def test_a_body_goes_along_where_the_method_has_one(w: World) -> None:
    install(w, ToolFallback("other"), match=HttpMatch("/v2", methods=("PUT",)))
    w.tool.script = http()
    agent = await w.agent()
    await agent.request("POST", TICKET, b'{"a":1}', [("Content-Type", "application/json")])
    assert (w.tool.seen[1].method, w.tool.seen[1].body) == ("PUT", b'{"a":1}')
    assert w.tool.seen[1].header("Content-Type") == "application/json"
    install(w, ToolFallback("other"), match=HttpMatch("/v2", methods=("GET",)))
    await agent.request("POST", TICKET, b'{"a":1}', [("Content-Type", "application/json")])
    assert (w.tool.seen[3].method, w.tool.seen[3].body) == ("GET", b"")
    assert w.tool.seen[3].header("Content-Type") is None


async def test_an_error_of_the_other_is_none_of_this_one(w: World) -> None:
    install(w, ToolFallback("other"), match=HttpMatch("/v2"))
    w.tool.script = http(b"not there", 404)
    answer = await (await w.agent()).request("GET", TICKET)
    assert (answer.status, answer.json["reason"]) == (502, "ServerError")
    assert (await w.recorded_call(2)).fallback_missed == "ToolFailed"


def with_second_server(w: World, policy: Policy) -> Policy:
    origin = f"http://localhost:{w.tool.port}"
    second = Server(name="spare", protocol="HTTP", url=f"{origin}/spare", unlisted=rules())
    return msgspec.structs.replace(policy, servers=(*policy.servers, second))


async def test_no_credential_goes_to_another_server(w: World) -> None:
    other = Tool("other", "spare", HttpMatch("/v2/{id}"), rules())
    policy = w.policy(tool_rules=rules(fallback=ToolFallback("other")), more=(other,))
    w.install_policy(with_second_server(w, policy))
    w.tool.script = http()
    agent = await w.agent()
    secret = [("Authorization", "a"), ("Cookie", "b"), ("X-Api-Key", "c"), ("Accept", "text/plain")]
    answer = await agent.request("GET", TICKET, headers=secret)
    assert answer.body == b"found"
    seen = w.tool.seen[1]
    assert (seen.target, seen.header("Host")) == ("/spare/v2/5", f"localhost:{w.tool.port}")
    assert [seen.header(name) for name, _ in secret] == [None, None, None, "text/plain"]


# configurations
async def test_a_tool_that_an_older_policy_has_claimed_is_not_there(w: World) -> None:
    w.install(tool_rules=rules(fallback=ToolFallback("other")))
    w.tool.script = mcp(found)
    answer = await (await w.agent()).call()
    assert answer.meta["toolpolicy.dev/reason"] == "ServerError"
    assert (await w.recorded_call()).fallback_missed == "NoSuchTool"


async def test_a_circle_is_refused(w: World) -> None:
    with pytest.raises(InvalidSnapshot, match="falls back on itself"):
        install(w, ToolFallback("other"), other_rules=rules(fallback=ToolFallback("search")))
