"""LangChain's tools, as a tool node of a graph calls them."""

from typing import Any

from langchain_mcp_adapters.client import MultiServerMCPClient


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    client = MultiServerMCPClient({"kb": {"transport": "streamable_http", "url": url}})
    tools = {tool.name: tool for tool in await client.get_tools()}

    async def call(name: str, arguments: dict[str, str]) -> str:
        asked: Any = {"type": "tool_call", "id": "1", "name": name, "args": arguments}
        return str((await tools[name].ainvoke(asked)).text)

    return list(tools), await call("search", {"query": query}), await call("hang", {})
