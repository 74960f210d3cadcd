"""What an answer says about the tool's health: success, failure or neutral. Pure."""

from typing import NamedTuple

from toolpolicy_api.snapshot import Rules
from toolpolicy_sidecar.reasons import MEANINGS, CallOutcome, Reason
from toolpolicy_sidecar.resilience.breaker import Outcome


class Class(NamedTuple):
    """`outcome` is for metrics and records, `breaker` for the circuit."""

    outcome: CallOutcome
    breaker: Outcome
    reason: Reason | None = None


SUCCESS = Class("success", Outcome.SUCCESS)
CLIENT_GONE = Class("neutral", Outcome.NEUTRAL, Reason.ClientGone)
RESUMABLE = Class("neutral", Outcome.NEUTRAL)
"""The server ended the stream after an event with an id: the agent goes on with it by GET."""

_OURS = {
    Reason.AnswerTooLarge,
    Reason.AnswerUnscannable,
    Reason.AnswerEncodingUnsupported,
    Reason.AnswerUnparsable,
    Reason.AnswerTooDeep,
    Reason.AnswerTooCostly,
    Reason.AnswerBlocked,
    Reason.InternalError,
}
"""Failures that say nothing about the tool."""


def of_status(status: int, rules: Rules) -> Class:
    """501 says that the server works and lacks the method; other 4xx are the caller's fault."""
    if status < 400:
        return SUCCESS
    if status >= 500:
        if status == 501:
            return Class("failure", Outcome.NEUTRAL, Reason.ServerError)
        return Class("failure", Outcome.FAILURE, Reason.ServerError)
    if status == 429:
        counts = rules.breaker is not None and rules.breaker.throttle_counts_as_failure
        return Class("failure", Outcome.FAILURE if counts else Outcome.NEUTRAL, Reason.Throttled)
    return Class("neutral", Outcome.NEUTRAL, Reason.ClientError)


def of_tool_error(rules: Rules) -> Class:
    """A JSON-RPC error, or a result with `isError`: the tool answered, and said no."""
    counts = rules.breaker is not None and rules.breaker.count_tool_errors
    return Class("failure", Outcome.FAILURE if counts else Outcome.NEUTRAL, Reason.ToolError)


def of_reason(reason: Reason, *, agent_waited_for: bool = False) -> Class:
    """A call that we refused or that failed without an answer. `agent_waited_for`: time ran out while the agent
    was slow to send or to read, which is not the tool's fault."""
    if reason is Reason.ClientGone:
        return CLIENT_GONE
    if MEANINGS[reason].kind == "refused":
        return Class("refused", Outcome.NEUTRAL, reason)
    neutral = agent_waited_for or reason in _OURS
    return Class("failure", Outcome.NEUTRAL if neutral else Outcome.FAILURE, reason)
