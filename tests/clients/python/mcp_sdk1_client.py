"""MCP's Python SDK 1."""

from typing import Any

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        found: Any = await session.call_tool("search", {"query": query})
        hung: Any = await session.call_tool("hang", {})
    return tools, found.content[0].text, hung.content[0].text
