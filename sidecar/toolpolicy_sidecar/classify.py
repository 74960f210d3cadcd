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


def of_status(status: int, rules: Rules) -> Class:
    """501 says that the server works and lacks the method; other 4xx are the caller's fault."""
    if status >= 500:
        if status == 501:
            return Class("failure", Outcome.NEUTRAL, Reason.ServerError)
        return Class("failure", Outcome.FAILURE, Reason.ServerError)
    if status == 429:
        counts = rules.breaker is not None and rules.breaker.throttle_counts_as_failure
        return Class("failure", Outcome.FAILURE if counts else Outcome.NEUTRAL, Reason.Throttled)
    if status >= 400:
        return Class("neutral", Outcome.NEUTRAL, Reason.ClientError)
    return SUCCESS


def of_mcp(result: object, error: object, rules: Rules) -> Class:
    """A JSON-RPC answer: an error object is the caller's or the protocol's, `isError` the tool's own."""
    if error is not None:
        return Class("failure", Outcome.NEUTRAL, Reason.ToolError)
    if isinstance(result, dict) and result.get("isError") is True:
        counts = rules.breaker is not None and rules.breaker.count_tool_errors
        return Class("failure", Outcome.FAILURE if counts else Outcome.NEUTRAL, Reason.ToolError)
    return SUCCESS


def of_reason(reason: Reason) -> Class:
    """A call that we refused or that failed without an answer."""
    kind = MEANINGS[reason].kind
    if kind == "refused":
        return Class("refused", Outcome.NEUTRAL, reason)
    answer_refused = {Reason.AnswerTooLarge, Reason.AnswerUnscannable}
    return Class("failure", Outcome.NEUTRAL if reason in answer_refused else Outcome.FAILURE, reason)
