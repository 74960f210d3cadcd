"""How a fallback looks to the agent: always marked, so that nobody takes it for the tool's own answer."""

from typing import Any

import msgspec
from msgspec import UNSET

from toolpolicy_sidecar import render
from toolpolicy_sidecar.call import McpCall, ToolCall
from toolpolicy_sidecar.fallback.cache import Whole
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.record import Fallback
from toolpolicy_sidecar.render import Rendered
from toolpolicy_sidecar.upstream.headers import Header

_JSON = b"application/json"
_TEXT = b"text/plain; charset=utf-8"
_SET = "set by the policy, not the tool's own"


def message(call: ToolCall, problem: Problem, text: str) -> Rendered:
    """An error still, in the policy's words: for MCP with `isError`, for HTTP with the status of the problem."""
    if call.mcp is not None:
        result = {"content": [_block(text)], "isError": True}
        return _mcp(call, call.mcp, problem, "Message", result)
    standard = render.of_call(call, problem)
    document = msgspec.json.decode(standard.body) | {"detail": text, "fallback": "Message"}
    headers = (*standard.headers, *_marks(problem, "Message"))
    return Rendered(standard.status, headers, msgspec.json.encode(document))


def static_mcp(
    call: ToolCall, mcp: McpCall, problem: Problem, content: str, structured: Any = UNSET
) -> Rendered:
    """A success; `structured` UNSET: a text and nothing else."""
    result: dict[str, Any] = {"content": [_block(content), _mark(call, problem, _SET)], "isError": False}
    if structured is not UNSET:
        result["structuredContent"] = structured
    return _mcp(call, mcp, problem, "Static", result)


def static_http(problem: Problem, content: str) -> Rendered:
    """200, an object or a list as JSON. A lone number or word is text."""
    try:
        msgspec.json.decode(content, type=dict[str, msgspec.Raw] | list[msgspec.Raw])
        kind = _JSON
    except (msgspec.DecodeError, RecursionError):
        kind = _TEXT
    return Rendered(200, ((b"Content-Type", kind), *_marks(problem, "Static")), content.encode())


def cached_mcp(
    call: ToolCall, mcp: McpCall, problem: Problem, result: dict[str, Any], age_s: int
) -> Rendered:
    """A result that the tool gave before."""
    content = result.get("content")
    blocks = content if isinstance(content, list) else []
    mark = _mark(call, problem, f"the tool's own of {age_s} s ago, to the same call")
    return _mcp(call, mcp, problem, "Cached", result | {"content": [*blocks, mark]}, age_s)


def cached_http(problem: Problem, good: Whole, age_s: int) -> Rendered:
    """A body that the tool gave before, with its Age (RFC 9111)."""
    kind = ((b"Content-Type", good.content_type),) if good.content_type else ()
    return Rendered(200, (*kind, (b"Age", b"%d" % age_s), *_marks(problem, "Cached")), good.body)


def other_mcp(call: ToolCall, mcp: McpCall, problem: Problem, name: str, result: dict[str, Any]) -> Rendered:
    """What another tool says."""
    content = result.get("content")
    blocks = content if isinstance(content, list) else []
    mark = _mark(call, problem, f"the answer of the tool {name}")
    meta = result.get("_meta")
    meta = (meta if isinstance(meta, dict) else {}) | {"toolpolicy.dev/fallbackTool": name}
    return _mcp(call, mcp, problem, "Tool", result | {"content": [*blocks, mark], "_meta": meta})


def other_http(
    problem: Problem, name: str, status: int, headers: tuple[Header, ...], body: bytes
) -> Rendered:
    """What another tool says. It may have come from a fallback of its own: the marks are those of the first tool."""
    own = {b"content-length", b"toolpolicy-fallback", b"toolpolicy-fallback-tool", b"toolpolicy-reason"}
    kept = tuple(header for header in headers if header[0].lower() not in own)
    marks = (*_marks(problem, "Tool"), (b"Toolpolicy-Fallback-Tool", name.encode()))
    return Rendered(status, (*kept, *marks), body)


def result_of(message: bytes) -> dict[str, Any]:
    """Of a JSON-RPC message that is known to have one."""
    result: dict[str, Any] = msgspec.json.decode(message, type=dict[str, Any])["result"]
    return result


def is_complete(message: bytes) -> bool:
    """Not a result that asks for something, or that stands for a task which goes on."""
    try:
        result = result_of(message)
        return result.get("resultType", "complete") == "complete" and "content" in result
    except (msgspec.DecodeError, RecursionError, KeyError, AttributeError):
        return False


def _mcp(  # noqa: PLR0917 -- the parts of an answer
    call: ToolCall,
    mcp: McpCall,
    problem: Problem,
    kind: Fallback,
    result: dict[str, Any],
    age_s: int | None = None,
) -> Rendered:
    own = result.get("_meta")
    meta = (own if isinstance(own, dict) else {}) | render.mcp_meta(call, problem)
    meta["toolpolicy.dev/fallback"] = kind
    if age_s is not None:
        meta["toolpolicy.dev/ageSeconds"] = age_s
    return render.of_result(mcp, result | {"resultType": "complete", "_meta": meta})


def _block(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _mark(call: ToolCall, problem: Problem, what: str) -> dict[str, str]:
    """A block of its own: the first one stays what the tool would have said, for agents that parse it."""
    return _block(f"This is a fallback answer: {what}. {render.what_happened(call, problem)}")


def _marks(problem: Problem, kind: Fallback) -> tuple[Header, ...]:
    return ((b"Toolpolicy-Fallback", kind.encode()), (b"Toolpolicy-Reason", problem.reason.encode()))
