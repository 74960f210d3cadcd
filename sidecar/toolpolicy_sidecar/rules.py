"""What is decided before a call is sent: reading this list is reading the policy."""

from collections.abc import Callable

from toolpolicy_sidecar.call import Refused, ToolCall
from toolpolicy_sidecar.reasons import Reason

Rule = Callable[[ToolCall, float], Refused | None]


def switched_off_by_policy(call: ToolCall, _now: float) -> Refused | None:
    if call.tool.rules.enabled:
        return None
    return Refused(Reason.ToolDisabled, "it is switched off in the policy")


def switched_off_by_hand(call: ToolCall, now: float) -> Refused | None:
    override = call.tool.circuit.disabled(now)
    if override is None:
        return None
    left_s = None if override.until is None else max(0.0, override.until - now)
    return Refused(Reason.ToolDisabled, "it was switched off by hand", left_s)


RULES: tuple[Rule, ...] = (
    switched_off_by_policy,
    switched_off_by_hand,
)
"""In order; the first refusal stands. The circuit breaker comes after these, for each attempt."""


def decide(call: ToolCall, now: float) -> Refused | None:
    if call.tool.mode == "Off":
        return None
    for rule in RULES:
        refused = rule(call, now)
        if refused:
            return refused
    return None
