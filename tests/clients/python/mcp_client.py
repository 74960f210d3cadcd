"""MCP's Python SDK 2."""

from typing import Any

from mcp import Client


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    async with Client(url) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        found: Any = await client.call_tool("search", {"query": query})
        hung: Any = await client.call_tool("hang", {})
    return tools, found.content[0].text, hung.content[0].text
