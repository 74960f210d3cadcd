"""Plain HTTP: the tool is found by method and path."""

from toolpolicy_sidecar.call import Incoming, ToolCall, argument_keys
from toolpolicy_sidecar.tool import HttpTools, ServerState, ToolState


def recognise(incoming: Incoming, server: ServerState) -> ToolCall:
    """Every request to an HTTP server is a tool call; what no tool lists is the server's `*`."""
    tools = server.tools
    found = tools.find(incoming.method, incoming.path) if isinstance(tools, HttpTools) else None
    tool = found if isinstance(found, ToolState) else server.unlisted
    if incoming.upgrade is not None:
        tool = tool.without_fallback()
    allow = found if isinstance(found, tuple) else ()
    keys = argument_keys(_names(incoming.query)) if incoming.query else ()
    return ToolCall(incoming, server, tool, keys, allow=allow)


def _names(query: str) -> list[str]:
    """As they are written: they are for the log, and cannot be a value unless the agent puts one there."""
    return [part.partition("=")[0] for part in query.split("&") if "=" in part]
