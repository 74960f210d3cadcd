"""Fallbacks as the real MCP client takes them, from real servers, in both eras."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable

import pytest
from mcp import Client
from mcp.types import CallToolResult

from tests.unit.datapath.loopback import World, rules, until, world
from tests.unit.datapath.test_mcp_sdk import MODES, Mode, Server, serving
from toolpolicy_api.snapshot import (
    CachedFallback,
    Fallback,
    McpMatch,
    MessageFallback,
    StaticFallback,
    Tool,
    ToolFallback,
)


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    async with serving(json_response=getattr(request, "param", False)) as made:
        yield made


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def install(w: World, server: Server, fallback: Fallback) -> None:
    w.install(port=server.port, tool_rules=rules(fallback=fallback))


async def late(
    w: World, server: Server, calling: Awaitable[CallToolResult], by_s: float = 10
) -> CallToolResult:
    """What the client gets when the tool has not answered in time."""
    so_far = len(server.called)
    called = asyncio.ensure_future(calling)
    await until(lambda: len(server.called) > so_far)
    w.turn(by_s)
    return await called


@pytest.mark.parametrize("server", [False, True], ids=["sse", "json"], indirect=True)
@pytest.mark.parametrize("mode", MODES)
async def test_a_text_for_a_tool_whose_schema_wraps_it(w: World, server: Server, mode: Mode) -> None:
    install(w, server, StaticFallback("nothing today"))
    async with Client(f"http://127.0.0.1:{w.port}/kb", mode=mode, read_timeout_seconds=20) as client:
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
        assert schemas["search_hanging"]  # the client checks what it gets
        result = await late(w, server, client.call_tool("search_hanging", {}))
    assert not result.is_error
    assert result.structured_content == {"result": "nothing today"}
    assert result.meta
    assert result.meta["toolpolicy.dev/fallback"] == "Static"
    await until(lambda: w.recorded.calls)
    assert w.recorded.calls[0].fallback == "Static"


@pytest.mark.parametrize("mode", MODES)
async def test_json_for_a_tool_with_a_schema(w: World, server: Server, mode: Mode) -> None:
    install(w, server, StaticFallback(json.dumps({"found": "nothing"})))
    async with Client(f"http://127.0.0.1:{w.port}/kb", mode=mode, read_timeout_seconds=20) as client:
        await client.list_tools()
        result = await late(w, server, client.call_tool("search_hanging_structured", {}))
    assert result.structured_content == {"found": "nothing"}


@pytest.mark.parametrize("mode", MODES)
async def test_what_does_not_fit_is_an_error_that_the_client_takes(
    w: World, server: Server, mode: Mode
) -> None:
    install(w, server, StaticFallback(json.dumps({"found": 7})))
    async with Client(f"http://127.0.0.1:{w.port}/kb", mode=mode, read_timeout_seconds=20) as client:
        await client.list_tools()
        result = await late(w, server, client.call_tool("search_hanging_structured", {}))
    assert result.is_error
    assert "did not answer in time" in result.content[0].text  # type: ignore[union-attr]
    await until(lambda: w.recorded.calls)
    record = w.recorded.calls[0]
    assert (record.fallback, record.fallback_missed) == ("Static", "SchemaMismatch")


@pytest.mark.parametrize("mode", MODES)
async def test_a_message(w: World, server: Server, mode: Mode) -> None:
    install(w, server, MessageFallback("Ask a colleague."))
    async with Client(f"http://127.0.0.1:{w.port}/kb", mode=mode, read_timeout_seconds=20) as client:
        await client.list_tools()
        result = await late(w, server, client.call_tool("search_hanging", {}))
    assert result.is_error
    assert result.content[0].text == "Ask a colleague."  # type: ignore[union-attr]


@pytest.mark.parametrize("server", [False, True], ids=["sse", "json"], indirect=True)
@pytest.mark.parametrize("mode", MODES)
async def test_the_last_good_answer(w: World, server: Server, mode: Mode) -> None:
    install(w, server, CachedFallback(60_000))
    server.hang = False
    async with Client(f"http://127.0.0.1:{w.port}/kb", mode=mode, read_timeout_seconds=20) as client:
        await client.list_tools()
        first = await client.call_tool("search_hanging", {"query": "x"})
        server.hang = True
        again = await late(w, server, client.call_tool("search_hanging", {"query": "x"}))
        missed = await late(w, server, client.call_tool("search_hanging", {"query": "y"}))
    assert again.structured_content == first.structured_content == {"result": "about x"}
    assert again.content[:1] == first.content
    assert again.meta
    assert again.meta["toolpolicy.dev/fallback"] == "Cached"
    assert not again.is_error
    assert missed.is_error


@pytest.mark.parametrize("server", [False, True], ids=["sse", "json"], indirect=True)
@pytest.mark.parametrize("mode", MODES)
async def test_another_tool(w: World, server: Server, mode: Mode) -> None:
    archive = Tool("archive", "kb", McpMatch("archive"), rules())
    first = rules(fallback=ToolFallback("archive", {"text": "query"}), total_ms=10_000, attempt_ms=4_000)
    w.install(port=server.port, tool_rules=first, more=(archive,))
    async with Client(f"http://127.0.0.1:{w.port}/kb", mode=mode, read_timeout_seconds=20) as client:
        await client.list_tools()
        result = await late(w, server, client.call_tool("search_hanging", {"query": "x"}), 4)
        assert result.structured_content == {"result": "long ago: x"}
        assert result.meta
        assert result.meta["toolpolicy.dev/fallbackTool"] == "archive"
    await until(lambda: len(w.recorded.calls) == 2)
    assert [record.tool for record in w.recorded.calls] == ["archive", "search"]


async def test_schemas_survive_a_reload_and_not_a_move(w: World, server: Server) -> None:
    install(w, server, StaticFallback("one"))
    async with Client(f"http://127.0.0.1:{w.port}/kb", read_timeout_seconds=20) as client:
        await client.list_tools()
        install(w, server, StaticFallback("two"))
        result = await late(w, server, client.call_tool("search_hanging", {}))
    assert result.structured_content == {"result": "two"}
    w.install(tool_rules=rules(fallback=StaticFallback("three")))
    runtime = w.current.runtime
    assert runtime
    schemas = runtime.servers["kb"].schemas
    assert schemas is not None
    assert len(schemas) == 0


async def test_without_a_fallback_nothing_is_kept(w: World, server: Server) -> None:
    install(w, server, MessageFallback("an error needs no schema"))
    runtime = w.current.runtime
    assert runtime
    assert runtime.servers["kb"].schemas is None
