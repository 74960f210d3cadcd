"""What is answered in the place of a tool."""

from collections.abc import Iterator

from toolpolicy_api import policy as written
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.duration import milliseconds


def check_fallback(fallback: written.Fallback, field: str) -> Iterator[Finding]:
    kinds = (fallback.message, fallback.static, fallback.cached, fallback.tool)
    if sum(kind is not None for kind in kinds) != 1:
        yield Finding(field, "set one of message, static, cached and tool")
    if fallback.cached and milliseconds(fallback.cached.max_age) == 0:
        yield Finding(f"{field}.cached.maxAge", "must be longer than zero")


def check_other_tools(spec: written.Spec) -> Iterator[Finding]:
    """A fallback that is another tool needs one that can be called in the place of this one."""
    tools = {tool.name: tool for tool in spec.tools}
    protocols = {server.name: server.protocol for server in spec.servers}
    next_of = {
        tool.name: tool.fallback.tool.name for tool in spec.tools if tool.fallback and tool.fallback.tool
    }
    for index, tool in enumerate(spec.tools):
        fallback = tool.fallback.tool if tool.fallback else None
        if fallback is None:
            continue
        field = f"spec.tools[{index}].fallback.tool"
        other = tools.get(fallback.name)
        if other is None:
            known = ", ".join(sorted(tools.keys() - {tool.name})) or "none"
            yield Finding(f"{field}.name", f"no tool {fallback.name!r} in spec.tools; known: {known}")
            continue
        way = [tool.name]
        while (following := next_of.get(way[-1])) is not None and following not in way:
            way.append(following)
        if following == tool.name:
            text = " → ".join([*way, tool.name])
            yield Finding(f"{field}.name", f"it falls back on itself: {text}; break the circle")
        elif protocols.get(other.server) != protocols.get(tool.server):
            yield Finding(
                f"{field}.name", f"{other.name!r} speaks another protocol; choose one that does not"
            )
        elif protocols.get(tool.server) == "MCP":
            yield from _other_mcp_tool(tool, other, f"{field}.name")
        else:
            yield from _other_http_tool(tool, other, fallback.arguments, f"{field}.arguments")


def _other_mcp_tool(tool: written.Tool, other: written.Tool, field: str) -> Iterator[Finding]:
    if other.server != tool.server:
        text = "is of another server, which does not know the agent's session; choose one of"
        yield Finding(field, f"{other.name!r} {text} {tool.server!r}")
    elif set((other.match and other.match.tool) or other.name) & set("*?["):
        yield Finding(field, f"{other.name!r} stands for many tools; choose one without a glob")


def _other_http_tool(
    tool: written.Tool, other: written.Tool, arguments: dict[str, str] | None, field: str
) -> Iterator[Finding]:
    filled = _placeholders(tool) | (arguments or {}).keys()
    for name in sorted(_placeholders(other) - filled):
        yield Finding(field, f"gives no value for {{{name}}} in the path of {other.name!r}; map it")


def _placeholders(tool: written.Tool) -> set[str]:
    path = (tool.match and tool.match.path) or ""
    return {segment[1:-1] for segment in path.split("/") if segment.startswith("{")}
