"""A real MCP server over pipes, run by a test as a process of its own."""

import asyncio
import sys
from typing import Any

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("notes")


@server.tool()
async def search(query: str) -> str:
    return f"about {query}"


@server.tool()
async def search_hanging(ctx: Context[Any, Any]) -> str:
    """Reports progress, then hangs."""
    await ctx.report_progress(1, 2, "half of it")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("given up", file=sys.stderr, flush=True)
        raise
    return "never"


@server.resource("note://one")
async def note() -> str:
    return "a note"


if __name__ == "__main__":
    server.run("stdio")
