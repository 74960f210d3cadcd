"""OpenAI's Agents SDK."""

from agents.mcp import MCPServerStreamableHttp


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    # Its own 5 seconds are little on a busy machine.
    async with MCPServerStreamableHttp(params={"url": url}, client_session_timeout_seconds=60) as server:
        tools = [tool.name for tool in await server.list_tools()]
        found = await server.call_tool("search", {"query": query})
        hung = await server.call_tool("hang", {})
    return tools, found.content[0].text, hung.content[0].text
