"""An agent of Google's ADK, with a script in the place of its model."""

from collections.abc import AsyncGenerator
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StreamableHTTPConnectionParams
from google.genai import types


class Script(BaseLlm):
    model: str = "script"
    calls: list[tuple[str, dict[str, str]]]
    tools: list[str]
    read: list[str]

    async def generate_content_async(
        self,
        llm_request: LlmRequest,
        stream: bool = False,  # noqa: FBT002, ARG002 -- its signature
    ) -> AsyncGenerator[LlmResponse, None]:
        self.tools[:] = llm_request.tools_dict
        self.read.extend(
            str(part.function_response.response)
            for part in llm_request.contents[-1].parts or ()
            if part.function_response
        )
        part = types.Part(text="done")
        if self.calls:
            name, arguments = self.calls.pop(0)
            part = types.Part.from_function_call(name=name, args=arguments)
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    # Its own 5 seconds are little on a busy machine.
    toolset = McpToolset(connection_params=StreamableHTTPConnectionParams(url=url, timeout=60))
    script: Any = Script(calls=[("search", {"query": query}), ("hang", {})], tools=[], read=[])
    agent = LlmAgent(name="agent", model=script, tools=[toolset])
    async with InMemoryRunner(agent, app_name="app") as runner:
        session = await runner.session_service.create_session(app_name="app", user_id="u")
        said = types.Content(role="user", parts=[types.Part(text="go")])
        async for _ in runner.run_async(user_id="u", session_id=session.id, new_message=said):
            pass
    found, hung = script.read
    return script.tools, found, hung
