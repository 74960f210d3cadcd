"""OpenAI's Agents SDK."""

from agents.mcp import MCPServerStreamableHttp


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    async with MCPServerStreamableHttp(params={"url": url}) as server:
        tools = [tool.name for tool in await server.list_tools()]
        found = await server.call_tool("search", {"query": query})
        hung = await server.call_tool("hang", {})
    return tools, found.content[0].text, hung.content[0].text
