"""A Pydantic AI agent, with a script in the place of its model."""

from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    calls = [ToolCallPart("search", {"query": query}), ToolCallPart("hang", {})]
    tools: list[str] = []
    read: list[str] = []

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        tools[:] = [tool.name for tool in info.function_tools]
        read.extend(
            str(part.content)
            for part in messages[-1].parts
            if isinstance(part, ToolReturnPart | RetryPromptPart)
        )
        return ModelResponse([calls.pop(0) if calls else TextPart("done")])

    async with Agent(FunctionModel(model), toolsets=[MCPToolset(url)]) as agent:
        await agent.run("go")
    found, hung = read
    return tools, found, hung
