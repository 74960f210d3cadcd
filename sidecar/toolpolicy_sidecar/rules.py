"""What is decided before a call is sent: reading `decide` is reading the policy. Each rule is asked of a call and now
(monotonic seconds) why the call is refused; None lets it pass."""

from toolpolicy_sidecar.call import ToolCall
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason


def method_listed(call: ToolCall, _now: float) -> Problem | None:
    if not call.allow:
        return None
    text = f"{call.incoming.method} is not listed for this path of {call.server.name}"
    return Problem(Reason.MethodNotListed, text, allow=call.allow)


def upgrade_let_through(call: ToolCall, _now: float) -> Problem | None:
    if call.incoming.upgrade is None:
        return None
    if not call.server.tunnels_upgrades:
        text = "no limit and no redaction would apply to what is said in a WebSocket"
        return Problem(Reason.UpgradeRefused, f"{text} (servers[].upgrade)")
    redactor = call.tool.redactor
    if redactor is not None and redactor.on_unscannable == "Refuse":
        text = "no redaction would apply to what is said in a WebSocket, and what cannot be read is refused"
        return Problem(Reason.UpgradeRefused, f"{text} (redaction.onUnscannable)")
    return None


def switched_on_by_policy(call: ToolCall, _now: float) -> Problem | None:
    if call.tool.circuit.switched_on:
        return None
    return Problem(Reason.ToolDisabled, "it is switched off in the policy")


def not_switched_off_by_hand(call: ToolCall, now: float) -> Problem | None:
    override = call.tool.circuit.override(now)
    if override is None or override.action != "Disable":
        return None
    return Problem(Reason.ToolDisabled, "it was switched off by hand", override.until - now)


def not_throttled(call: ToolCall, now: float) -> Problem | None:
    left_s = call.tool.circuit.throttle.left_s(now)
    if not left_s:
        return None
    return Problem(Reason.Throttled, "its server has asked for a pause", left_s)


def decide(call: ToolCall, now: float) -> Problem | None:
    """Why the call is refused; None: it may be tried. The first refusal stands. Asked again before each further
    attempt, before the circuit breaker. Not asked in mode Off; in mode Shadow the answer is noted and not given."""
    return (
        method_listed(call, now)
        or upgrade_let_through(call, now)
        or switched_on_by_policy(call, now)
        or not_switched_off_by_hand(call, now)
        or not_throttled(call, now)
    )
