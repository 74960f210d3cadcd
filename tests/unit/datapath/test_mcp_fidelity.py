"""What MCP's conformance suite does not see: headers that are kept as they are, errors of discovery, streams without
end, the way to an OAuth server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import (
    MCP_HEADERS,
    Exchange,
    Pairs,
    World,
    breaker,
    redaction,
    rules,
    tools_call,
    world,
)

DISCOVER = b'{"jsonrpc":"2.0","id":"d","method":"server/discover","params":{}}'
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}'
LIST = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
LISTEN = b'{"jsonrpc":"2.0","id":3,"method":"subscriptions/listen","params":{}}'
TASK = b'{"jsonrpc":"2.0","id":4,"method":"tasks/get","params":{"taskId":"t-1"}}'


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def shut(w: World) -> None:
    """No tool may be called."""
    closed = rules(enabled=False, breaker=breaker(1, mode="ForcedOpen"))
    w.install(tool_rules=closed, unlisted=closed)


@pytest.mark.parametrize("status", [401, 404, 429, 503])
@pytest.mark.parametrize(
    "message", [DISCOVER, INITIALIZE, LIST, TASK], ids=["discover", "initialize", "list", "task"]
)
async def test_errors_of_what_is_no_tool_call_are_the_servers_own(
    w: World, message: bytes, status: int
) -> None:
    """A client takes any error of ours on `server/discover` for a server of the handshake era."""
    shut(w)
    body = b'{"jsonrpc":"2.0","id":"d","error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}'

    async def says(exchange: Exchange) -> None:
        await exchange.answer(status, body, Retry_After="7", WWW_Authenticate='Bearer scope="a"')

    w.tool.script = says
    agent = await w.agent()
    for _ in range(3):
        answer = await agent.request("POST", "/kb", message, MCP_HEADERS)
        assert (answer.status, answer.body) == (status, body)
        assert (answer.header("Retry-After"), answer.header("WWW-Authenticate")) == ("7", 'Bearer scope="a"')
    assert [seen.body for seen in w.tool.seen] == [message] * 3
    assert w.recorded.calls == []


TWICE: Pairs = [("Set-Cookie", "a=1"), ("Link", "</a>"), ("set-cookie", "b=2"), ("Link", "</b>")]


@pytest.mark.parametrize("redacting", [False, True])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("message", [tools_call(), LIST, LISTEN], ids=["call", "list", "listen"])
async def test_headers_that_are_given_twice_are_not_folded(
    w: World, message: bytes, kind: str, *, redacting: bool
) -> None:
    w.install(redaction=redaction() if redacting else None)

    async def says(exchange: Exchange) -> None:
        body = exchange.message()
        head = "".join(f"{name}: {value}\r\n" for name, value in [*TWICE, ("X-Accel-Buffering", "no")])
        if kind.startswith("text"):
            body = b"data: " + body + b"\n\n"
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        await exchange.raw(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body)

    w.tool.script = says
    given = [("X-One", "1"), ("Accept-Language", "de"), ("x-one", "2"), ("Accept-Language", "en")]
    answer = await (await w.agent()).request("POST", "/kb", message, [*MCP_HEADERS, *given])
    assert [header for header in answer.headers if header in TWICE] == TWICE
    assert answer.header("X-Accel-Buffering") == "no"
    assert [header for header in w.tool.seen[0].headers if header in given] == given


@pytest.mark.parametrize("redacting", [False, True])
@pytest.mark.parametrize(("method", "body"), [("POST", LISTEN), ("GET", None)], ids=["listen", "get"])
async def test_a_stream_of_the_server_lasts_and_comes_as_it_is_sent(
    w: World, method: str, body: bytes | None, *, redacting: bool
) -> None:
    times = rules(total_ms=60, attempt_ms=60, idle_ms=40)
    w.install(unlisted=times, tool_rules=times, redaction=redaction() if redacting else None)
    heard = asyncio.Event()
    note = b'id: 8\nretry: 9\n: c\ndata: {"jsonrpc":"2.0","method":"notifications/message"}\n\n'

    async def says(exchange: Exchange) -> None:
        await exchange.events(note, X_Accel_Buffering="no")
        await heard.wait()
        await asyncio.sleep(0.15)
        await exchange.chunks(note)
        await exchange.end()

    w.tool.script = says
    agent = await w.agent()
    await agent.send(method, "/kb", body, [*MCP_HEADERS, ("Last-Event-ID", "7"), ("Mcp-Session-Id", "s")])
    head = await agent.head()
    assert (head.status, head.header("X-Accel-Buffering")) == (200, "no")
    async with asyncio.timeout(20):
        first = await agent.reader.readuntil(b"\n\n")
    heard.set()
    async with asyncio.timeout(20):
        rest = await agent.reader.readuntil(b"0\r\n\r\n")
    assert note in first + rest
    assert (first + rest).count(b"notifications/message") == 2
    assert (w.tool.seen[0].header("Last-Event-ID"), w.tool.seen[0].header("Mcp-Session-Id")) == ("7", "s")


async def test_a_session_is_ended_by_the_agent(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(204, b"", "")

    shut(w)
    w.tool.script = says
    answer = await (await w.agent()).request("DELETE", "/kb", None, [("Mcp-Session-Id", "s")])
    assert answer.status == 204
    assert (w.tool.seen[0].method, w.tool.seen[0].header("Mcp-Session-Id")) == ("DELETE", "s")


async def test_the_way_to_an_oauth_server_is_the_servers_own(w: World) -> None:
    """Its `resource` is the server's url, as the tokens it takes are made for that: docs/clients.md."""
    told = 'Bearer resource_metadata="https://kb.internal/.well-known/oauth-protected-resource/mcp"'

    async def says(exchange: Exchange) -> None:
        await exchange.answer(401, b"", "", WWW_Authenticate=told)

    w.tool.script = says
    for message in (INITIALIZE, tools_call()):
        answer = await (await w.agent()).request("POST", "/kb", message, MCP_HEADERS)
        assert (answer.status, answer.header("WWW-Authenticate")) == (401, told)
    record = await w.recorded_call()
    assert (record.outcome, record.reason) == ("neutral", "ClientError")
