"""How a refusal or failure looks to the agent: RFC 9457 for HTTP, an `isError` result for MCP. One table of words."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from toolpolicy_api.snapshot import UNLISTED
from toolpolicy_sidecar.call import McpCall, ToolCall
from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import MEANINGS, Reason
from toolpolicy_sidecar.upstream.headers import Header

NAME_CHARACTERS = 128
"""Of a name that the caller chose."""
TYPE_BASE = "https://toolpolicy.dev/reasons/"
_JSON = (b"Content-Type", b"application/json")
_PROBLEM_JSON = (b"Content-Type", b"application/problem+json")

_UNCHECKED = "The tool {tool} was not called, since its arguments cannot be checked: {detail}."
_WITHHELD = "The answer of the tool {tool} was withheld, since it cannot be checked: {detail}."
_WORDS: dict[Reason, str] = {
    Reason.MethodNotListed: "The tool was not called: {detail}.",
    Reason.ToolDisabled: "The tool {tool} is disabled: {detail}. It was not called.",
    Reason.CircuitOpen: "The tool {tool} has been failing and is not called for now ({detail}).",
    Reason.Throttled: "The tool {tool} takes no more calls for now: {detail}.",
    Reason.ConcurrencyLimit: "The tool {tool} is busy and was not called: {detail}. Try again later.",
    Reason.QueueTimeout: "The tool {tool} is busy and was not called: {detail}. Try again later.",
    Reason.BodyTooLarge: "The tool {tool} was not called: {detail}.",
    Reason.MalformedRequest: "The tool {tool} was not called: {detail}.",
    Reason.UnsupportedEncoding: "The tool {tool} was not called: {detail}.",
    Reason.UpgradeRefused: "The tool {tool} was not called: {detail}.",
    Reason.RequestTimeout: "The tool {tool} was not called: {detail}.",
    Reason.RequestUnscannable: _UNCHECKED,
    Reason.RequestUnparsable: _UNCHECKED,
    Reason.RequestTooDeep: _UNCHECKED,
    Reason.RequestTooCostly: _UNCHECKED,
    Reason.RequestBlocked: "The tool {tool} was not called, since the policy lets no such data pass: {detail}.",
    Reason.NameNotResolved: "The tool {tool} could not be reached: {detail}. It was not called.",
    Reason.ConnectRefused: "The tool {tool} could not be reached: {detail}. It was not called.",
    Reason.TlsFailed: "The tool {tool} could not be reached securely: {detail}. It was not called.",
    Reason.ConnectTimeout: "The tool {tool} could not be reached in time: {detail}. It was not called.",
    Reason.AttemptTimeout: "The tool {tool} did not answer in time: {detail}. It may have acted all the same.",
    Reason.TotalTimeout: "The tool {tool} did not answer in time: {detail}. It may have acted all the same.",
    Reason.IdleTimeout: "The tool {tool} stopped while it answered: {detail}. It may have acted all the same.",
    Reason.ConnectionReset: "The connection to the tool {tool} broke: {detail}. It may have acted all the same.",
    Reason.IncompleteAnswer: "The answer of the tool {tool} broke off: {detail}. It may have acted all the same.",
    Reason.MalformedAnswer: "The answer of the tool {tool} cannot be understood: {detail}.",
    Reason.AnswerTooLarge: "The answer of the tool {tool} is too large: {detail}. Ask for less.",
    Reason.AnswerUnscannable: _WITHHELD,
    Reason.AnswerEncodingUnsupported: _WITHHELD,
    Reason.AnswerUnparsable: _WITHHELD,
    Reason.AnswerTooDeep: _WITHHELD,
    Reason.AnswerTooCostly: _WITHHELD,
    Reason.AnswerBlocked: "The answer of the tool {tool} was withheld, as the policy demands: {detail}.",
    Reason.ServerError: "The tool {tool} failed: {detail}.",
    Reason.ClientGone: "The tool {tool} was not called: {detail}.",
    Reason.InternalError: "The tool {tool} could not be used: {detail}.",
}

_NOT_AGAIN = frozenset(
    {
        Reason.MethodNotListed,
        Reason.ToolDisabled,
        Reason.BodyTooLarge,
        Reason.MalformedRequest,
        Reason.UnsupportedEncoding,
        Reason.UpgradeRefused,
        Reason.RequestUnscannable,
        Reason.RequestUnparsable,
        Reason.RequestTooDeep,
        Reason.RequestTooCostly,
        Reason.AnswerTooLarge,
        Reason.AnswerUnscannable,
        Reason.AnswerEncodingUnsupported,
        Reason.AnswerUnparsable,
        Reason.AnswerTooDeep,
        Reason.AnswerTooCostly,
        Reason.RequestBlocked,
        Reason.AnswerBlocked,
        Reason.TlsFailed,
    }
)
"""The same call would end the same way."""


class Rendered(NamedTuple):
    status: int
    headers: tuple[Header, ...]
    body: bytes


def sentence(call: ToolCall, problem: Problem) -> str:
    """For a model: what happened to which tool, whether to try again and when, and whether it matters."""
    text = what_happened(call, problem)
    if problem.retry_after_s is not None:
        text += f" Try again in {_seconds(problem)} s at the earliest."
    elif problem.reason in _NOT_AGAIN:
        text += " Trying the same call again will not help."
    elif MEANINGS[problem.reason].kind == "failed":
        text += " You may try again once."
    if call.tool.rules.criticality == "Optional":
        text += " This tool is optional: go on without it."
    return text


def what_happened(call: ToolCall, problem: Problem) -> str:
    name = call.tool.name
    if name == UNLISTED:
        name = call.mcp.name[:NAME_CHARACTERS] if call.mcp else f"{call.server.name}/*"
    return _WORDS[problem.reason].replace("{tool}", name).replace("{detail}", problem.detail)


def of_call(call: ToolCall, problem: Problem) -> Rendered:
    if call.mcp is not None:
        return _mcp_error(call, call.mcp, problem)
    document = {
        **_document(problem, sentence(call, problem)),
        "policy": call.server.policy,
        "server": call.server.name,
        "tool": call.tool.name,
        "criticality": call.tool.rules.criticality,
    }
    headers = (_PROBLEM_JSON, *_headers(problem))
    return Rendered(MEANINGS[problem.reason].status, headers, msgspec.json.encode(document))


def _mcp_error(call: ToolCall, mcp: McpCall, problem: Problem) -> Rendered:
    """HTTP 200 and a result: the one form that every MCP client shows to its model. Never structuredContent."""
    result = {
        "content": [{"type": "text", "text": sentence(call, problem)}],
        "isError": True,
        "resultType": "complete",
        "_meta": mcp_meta(call, problem),
    }
    return of_result(mcp, result)


def mcp_meta(call: ToolCall, problem: Problem) -> dict[str, object]:
    """For machines: what a result of ours says about the call."""
    meta: dict[str, object] = {
        "toolpolicy.dev/reason": problem.reason,
        "toolpolicy.dev/policy": call.server.policy,
        "toolpolicy.dev/tool": call.tool.name,
    }
    if problem.retry_after_s is not None:
        meta["toolpolicy.dev/retryAfterSeconds"] = _seconds(problem)
    return meta


def of_result(mcp: McpCall, result: Mapping[str, object]) -> Rendered:
    """An MCP result as the answer to this call."""
    message = {"jsonrpc": "2.0", "id": msgspec.Raw(mcp.identifier), "result": result}
    return Rendered(200, (_JSON,), msgspec.json.encode(message))


def of_request(problem: Problem, **about: str) -> Rendered:
    """For what belongs to no tool. `about`: further members of the problem, such as server."""
    status = MEANINGS[problem.reason].status
    document = {**_document(problem, problem.detail), **about}
    if problem.code is not None:
        text = problem.detail[:1].upper() + problem.detail[1:]
        body = jsonrpc.error(problem.code, text, problem.identifier, {"reason": problem.reason})
        return Rendered(status, (_JSON, *_headers(problem)), body)
    return Rendered(status, (_PROBLEM_JSON, *_headers(problem)), msgspec.json.encode(document))


def _document(problem: Problem, detail: str) -> dict[str, object]:
    meaning = MEANINGS[problem.reason]
    document: dict[str, object] = {
        "type": f"{TYPE_BASE}{problem.reason}",
        "title": meaning.title,
        "status": meaning.status,
        "detail": detail,
        "reason": problem.reason,
    }
    if problem.retry_after_s is not None:
        document["retryAfterSeconds"] = _seconds(problem)
    return document


def _headers(problem: Problem) -> tuple[Header, ...]:
    headers: tuple[Header, ...] = ()
    if problem.retry_after_s is not None:
        headers = ((b"Retry-After", b"%d" % _seconds(problem)),)
    if problem.allow:
        headers = (*headers, (b"Allow", ", ".join(problem.allow).encode()))
    return headers


def _seconds(problem: Problem) -> int:
    """Rounded up: a second too late is no harm, one too early is a refusal more."""
    return max(1, math.ceil(problem.retry_after_s or 0))
