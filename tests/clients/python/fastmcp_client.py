"""FastMCP's client: a failed tool is an exception whose text goes to the model."""

from fastmcp import Client
from fastmcp.exceptions import ToolError


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    async with Client(url) as client:
        tools = [tool.name for tool in await client.list_tools()]
        found = (await client.call_tool("search", {"query": query})).content[0].text
        try:
            hung = (await client.call_tool("hang", {})).content[0].text
        except ToolError as error:
            hung = str(error)
    return tools, found, hung
