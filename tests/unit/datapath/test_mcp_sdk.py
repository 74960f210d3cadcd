"""The real MCP client and server, both eras, through the sidecar and directly: what the agent sees is the same."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
import uvicorn
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer

from tests.unit.datapath.loopback import World, redaction, retry, rules, until, world

Mode = Literal["legacy", "auto"]
MODES: list[Mode] = ["legacy", "auto"]
SECRET = "sk-canary12345678"


class Server:
    """A real tool server. `called` is what reached its tools; `cancelled` counts calls it gave up."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.cancelled = 0
        self.hang = True
        self.port = 0
        self.events = True

    def tools(self) -> MCPServer:
        server = MCPServer("knowledge-base")

        @server.tool()
        async def search(query: str) -> str:
            """Searches."""
            self.called.append(query)
            return f"about {query}"

        @server.tool()
        async def search_structured(query: str) -> dict[str, str]:
            """Has an output schema."""
            return {"found": query}

        @server.tool()
        async def search_slowly(ctx: Context[Any, Any]) -> str:
            """Reports progress, then hangs."""
            self.called.append("slowly")
            await ctx.report_progress(1, 2, f"half of it, {SECRET}")
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            return "never"

        @server.tool()
        async def search_at_last() -> str:
            """Hangs the first time."""
            self.called.append("at last")
            if self.called.count("at last") > 1:
                return "at last"
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            return "never"

        @server.tool()
        async def search_progress(ctx: Context[Any, Any]) -> str:
            for step in range(3):
                await ctx.report_progress(step, 3, f"step {step} {SECRET}")
            return f"done {SECRET}"

        @server.tool()
        async def search_badly() -> str:
            raise ValueError("no such article")

        @server.tool()
        async def search_hanging(query: str = "") -> str:
            """Hangs once it is told to."""
            self.called.append("hanging")
            if self.hang:
                await asyncio.sleep(30)
            return f"about {query}"

        @server.tool()
        async def archive(text: str) -> str:
            return f"long ago: {text}"

        @server.tool()
        async def search_hanging_structured() -> dict[str, str]:
            self.called.append("hanging")
            await asyncio.sleep(30)
            return {"found": "never"}

        @server.resource("note://one")
        async def note() -> str:
            return "a note"

        @server.prompt()
        def greet(name: str) -> str:
            return f"hello {name}"

        return server


@contextlib.asynccontextmanager
async def serving(*, json_response: bool) -> AsyncIterator[Server]:
    made = Server()
    made.events = not json_response
    app = made.tools().streamable_http_app(json_response=json_response)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="critical", lifespan="on", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server.serve())
    await until(lambda: server.started)
    made.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Answers by events, as the SDK does unless told otherwise; or in JSON."""
    async with serving(json_response=getattr(request, "param", False)) as made:
        yield made


@pytest.fixture
async def w(server: Server) -> AsyncIterator[World]:
    async with world() as made:
        made.install(port=server.port)
        yield made


async def seen_by_an_agent(url: str, mode: Mode) -> dict[str, Any]:
    async with Client(url, mode=mode, read_timeout_seconds=20) as client:
        tools = await client.list_tools()
        bad = await client.call_tool("search_badly", {})
        return {
            "version": client.session.protocol_version,
            "tools": [tool.model_dump() for tool in tools.tools],
            "search": (await client.call_tool("search", {"query": "café"})).model_dump(),
            "structured": (await client.call_tool("search_structured", {"query": "x"})).model_dump(),
            "bad": bad.model_dump(),
            "resources": (await client.list_resources()).model_dump(),
            "note": (await client.read_resource("note://one")).model_dump(),
            "prompt": (await client.get_prompt("greet", {"name": "you"})).model_dump(),
        }


@pytest.mark.parametrize("server", [False, True], ids=["sse", "json"], indirect=True)
@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_sees_the_same(w: World, server: Server, mode: Mode) -> None:
    direct = await seen_by_an_agent(f"http://127.0.0.1:{server.port}/mcp", mode)
    through = await seen_by_an_agent(f"http://127.0.0.1:{w.port}/kb", mode)
    assert through == direct
    assert through["version"] == ("2025-11-25" if mode == "legacy" else "2026-07-28")
    records = w.recorded.calls
    assert [record.reason for record in records] == ["ToolError", None, None]
    assert {record.tool for record in records} == {"search"}
    assert all(record.session for record in records) == (mode == "legacy")
    await until(lambda: w.current.in_flight.requests == 0)
    assert w.recorded.refusals == []


@pytest.mark.parametrize("mode", MODES)
async def test_redaction_both_ways(w: World, server: Server, mode: Mode) -> None:
    w.install(port=server.port, redaction=redaction())
    notes: list[str] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        notes.append(message or "")

    async with Client(f"http://127.0.0.1:{w.port}/kb", mode=mode, read_timeout_seconds=20) as client:
        await client.call_tool("search", {"query": f"use {SECRET} please"})
        result = await client.call_tool("search_progress", {}, progress_callback=progress)
    assert server.called == ["use [key] please"]
    assert SECRET not in result.model_dump_json()
    assert "done [key]" in result.model_dump_json()
    assert notes == [f"step {step} [key]" for step in range(3)]
    assert w.recorded.calls[0].redacted_request == {"key": 1}


@pytest.mark.parametrize("server", [False, True], ids=["sse", "json"], indirect=True)
@pytest.mark.parametrize("mode", MODES)
async def test_a_retry_is_one_call_to_the_agent(w: World, server: Server, mode: Mode) -> None:
    """The first attempt hangs at the real server, the second is answered by it."""
    w.install(port=server.port, tool_rules=rules(attempt_ms=4_000, retry=retry()))
    async with Client(f"http://127.0.0.1:{w.port}/kb", mode=mode, read_timeout_seconds=20) as client:
        calling = asyncio.ensure_future(client.call_tool("search_at_last", {}))
        await until(lambda: server.called)
        w.turn(4)
        result = await calling
        assert "at last" in result.model_dump_json()
        assert not result.is_error
        if (
            mode == "legacy" or server.events
        ):  # in JSON mode the modern server does not see a closed connection
            await until(lambda: server.cancelled == 1)
        assert (await client.call_tool("search", {"query": "next"})).content[0].text == "about next"  # type: ignore[union-attr]
    assert [(record.outcome, record.attempts) for record in w.recorded.calls] == [
        ("success", 2),
        ("success", 1),
    ]


@pytest.mark.parametrize("mode", MODES)
async def test_a_timeout_is_a_result_and_the_session_goes_on(w: World, server: Server, mode: Mode) -> None:
    w.install(port=server.port)
    async with Client(f"http://127.0.0.1:{w.port}/kb", mode=mode, read_timeout_seconds=20) as client:
        calling = asyncio.ensure_future(client.call_tool("search_slowly", {}))
        await until(lambda: server.called)
        w.turn(10)
        result = await calling
        assert result.is_error
        assert "did not answer in time" in result.content[0].text  # type: ignore[union-attr]
        assert (await client.call_tool("search", {"query": "next"})).content[0].text == "about next"  # type: ignore[union-attr]
        await until(lambda: server.cancelled == 1)  # the server gave it up, in both eras
    assert w.recorded.calls[0].reason == "TotalTimeout"
