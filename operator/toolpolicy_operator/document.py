"""A status as the API server gets it: camelCase, absent instead of null, and never too large for etcd's good."""

import json
from collections.abc import Callable
from typing import Any

from toolpolicy_api.status import Condition, Status, Tool

LIMIT_BYTES = 32 * 1024
FEW_PODS = 3
SHORT_CHARACTERS = 120


def document(value: Status) -> dict[str, Any]:
    """At most 32 KiB: what is least needed goes first, and tools that are left out are counted in Healthy."""
    for shorten in _SHORTER:
        made = _dump(shorten(value))
        if _bytes(made) <= LIMIT_BYTES:
            return made
    return _most_urgent(_SHORTER[-1](value))


def _whole(value: Status) -> Status:
    return value


def _few_pods(value: Status) -> Status:
    return _each_tool(value, lambda tool: {"worst_pods": (tool.worst_pods or ())[:FEW_PODS] or None})


def _short(value: Status) -> Status:
    return _each_tool(
        value,
        lambda tool: {
            "worst_pods": None,
            "overrides": (tool.overrides or ())[:FEW_PODS] or None,
            "reason": _cut(tool.reason),
            "last_error": _cut(tool.last_error),
        },
    )


_SHORTER = (_whole, _few_pods, _short)


def _most_urgent(value: Status) -> dict[str, Any]:
    """What does not work first, then what is used most; shown in the policy's order."""
    ranked = sorted(value.tools, key=lambda tool: (tool.state == "Closed", -tool.errors, -tool.calls))
    room = LIMIT_BYTES - _bytes(_dump(_listing(value, frozenset(), len(ranked))))
    kept = set[tuple[str, str]]()
    for tool in ranked:
        room -= _bytes(tool.model_dump(by_alias=True, exclude_none=True, mode="json")) + 1
        if room < 0:
            break
        kept.add((tool.server, tool.name))
    return _dump(_listing(value, frozenset(kept), len(ranked) - len(kept)))


def _listing(value: Status, kept: frozenset[tuple[str, str]], left_out: int) -> Status:
    tools = tuple(tool for tool in value.tools if (tool.server, tool.name) in kept)
    return value.model_copy(
        update={"tools": tools, "conditions": tuple(_noting(each, left_out) for each in value.conditions)}
    )


def _noting(condition: Condition, left_out: int) -> Condition:
    if condition.type != "Healthy":
        return condition
    said = f"{condition.message}; {left_out} more tools are not listed in status, for its size"
    return condition.model_copy(update={"message": said})


def _each_tool(value: Status, change: Callable[[Tool], dict[str, Any]]) -> Status:
    return value.model_copy(
        update={"tools": tuple(tool.model_copy(update=change(tool)) for tool in value.tools)}
    )


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= SHORT_CHARACTERS else f"{text[: SHORT_CHARACTERS - 1]}…"


def _dump(value: Status) -> dict[str, Any]:
    return value.model_dump(by_alias=True, exclude_none=True, mode="json")


def _bytes(made: dict[str, Any]) -> int:
    return len(json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode())
