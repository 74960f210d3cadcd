"""How a refusal or failure looks to the agent: RFC 9457 for HTTP, an `isError` result for MCP. One table of words."""

import math
from typing import NamedTuple

import msgspec

from toolpolicy_sidecar.call import McpCall, ToolCall
from toolpolicy_sidecar.reasons import MEANINGS, Reason

PROBLEM = "application/problem+json"
TYPE_BASE = "https://toolpolicy.dev/reasons/"

_WORDS: dict[Reason, str] = {
    Reason.ToolDisabled: "The tool {tool} is disabled: {detail}. It was not called.",
    Reason.CircuitOpen: "The tool {tool} is failing and is not called for now ({detail}).",
    Reason.ConnectTimeout: "The tool {tool} could not be reached in time: {detail}.",
    Reason.AttemptTimeout: "The tool {tool} did not answer in time: {detail}. It may have acted all the same.",
    Reason.TotalTimeout: "The tool {tool} did not answer in time: {detail}. It may have acted all the same.",
    Reason.IdleTimeout: "The tool {tool} stopped in the middle of its answer: {detail}.",
    Reason.ServerError: "The tool {tool} failed: {detail}.",
    Reason.RequestUnscannable: "The call of {tool} was not sent, since its arguments cannot be checked: {detail}.",
    Reason.AnswerUnscannable: "The answer of {tool} was withheld, since it cannot be checked: {detail}.",
}
_OTHERWISE = "The tool {tool} could not be used: {detail}."


class Problem(NamedTuple):
    """Why there is no answer of the tool. `detail` is free of values."""

    reason: Reason
    detail: str
    retry_after_s: float | None = None


class Rendered(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def sentence(call: ToolCall, problem: Problem) -> str:
    """For a model: what happened to which tool, and what to do."""
    name = call.mcp.name if call.mcp and call.tool.name == "*" else call.tool.name
    text = _WORDS.get(problem.reason, _OTHERWISE).format(tool=name, detail=problem.detail)
    if problem.retry_after_s is not None:
        text += f" Try again in {math.ceil(problem.retry_after_s)} s at the earliest."
    if call.tool.rules.criticality == "Optional":
        text += " This tool is optional: go on without it."
    return text


def of_call(call: ToolCall, problem: Problem) -> Rendered:
    if call.mcp is not None:
        return Rendered(200, (("Content-Type", "application/json"),), mcp_result(call, call.mcp, problem))
    body = {
        **_problem(problem.reason, sentence(call, problem)),
        "policy": call.server.policy,
        "server": call.server.name,
        "tool": call.tool.name,
        "criticality": call.tool.rules.criticality,
    }
    headers = [("Content-Type", PROBLEM), *_retry_after(problem)]
    return Rendered(MEANINGS[problem.reason].status, tuple(headers), msgspec.json.encode(body))


def mcp_result(call: ToolCall, mcp: McpCall, problem: Problem) -> bytes:
    """HTTP 200 and a result: the one form that every MCP client shows to its model."""
    meta: dict[str, object] = {
        "toolpolicy.dev/reason": problem.reason,
        "toolpolicy.dev/policy": call.server.policy,
        "toolpolicy.dev/tool": call.tool.name,
    }
    if problem.retry_after_s is not None:
        meta["toolpolicy.dev/retryAfterSeconds"] = math.ceil(problem.retry_after_s)
    result = {
        "content": [{"type": "text", "text": sentence(call, problem)}],
        "isError": True,
        "resultType": "complete",
        "_meta": meta,
    }
    return msgspec.json.encode({"jsonrpc": "2.0", "id": msgspec.Raw(mcp.identifier), "result": result})


def of_request(
    problem: Problem, extra: tuple[tuple[str, str], ...] = (), body: bytes | None = None
) -> Rendered:
    """For what belongs to no tool. `body`: a JSON-RPC error, where the protocol wants one."""
    status = MEANINGS[problem.reason].status
    if body is not None:
        return Rendered(status, (("Content-Type", "application/json"), *extra), body)
    document = _problem(problem.reason, problem.detail)
    headers = (("Content-Type", PROBLEM), *extra, *_retry_after(problem))
    return Rendered(status, headers, msgspec.json.encode(document))


def _problem(reason: Reason, detail: str) -> dict[str, object]:
    meaning = MEANINGS[reason]
    return {
        "type": f"{TYPE_BASE}{reason}",
        "title": meaning.title,
        "status": meaning.status,
        "detail": detail,
        "reason": reason,
    }


def _retry_after(problem: Problem) -> list[tuple[str, str]]:
    if problem.retry_after_s is None:
        return []
    return [("Retry-After", str(max(1, math.ceil(problem.retry_after_s))))]
