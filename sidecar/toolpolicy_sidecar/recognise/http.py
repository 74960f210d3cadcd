"""Plain HTTP: the tool is found by method and path."""

from urllib.parse import unquote

from toolpolicy_sidecar.call import Incoming, Refused, ToolCall, argument_keys
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.tool import HttpTools, ServerState, ToolState


def recognise(incoming: Incoming, server: ServerState) -> ToolCall | Refused:
    """Every request to an HTTP server is a tool call; what no tool lists is the server's `*`."""
    tools = server.tools
    found = (
        tools.find(incoming.method, unquote(incoming.path) or "/") if isinstance(tools, HttpTools) else None
    )
    if isinstance(found, frozenset):
        allow = ", ".join(sorted(found))
        return Refused(
            Reason.MethodNotListed,
            f"{incoming.method} is not listed for this path of {server.name}; listed: {allow}",
            extra=(("Allow", allow),),
        )
    tool = found if isinstance(found, ToolState) else server.unlisted
    keys = [part.partition("=")[0] for part in incoming.query.split("&") if part]
    return ToolCall(incoming, server, tool, argument_keys(keys))
