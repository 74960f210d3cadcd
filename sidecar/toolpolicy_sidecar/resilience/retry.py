"""May a failed attempt be made again, and when? Pure: the state of the call comes in as arguments."""

from enum import StrEnum
from typing import NamedTuple

from toolpolicy_api import snapshot
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.resilience.budget import RetryBudget

_CLASSES: dict[Reason, snapshot.RetryOn] = {
    Reason.NameNotResolved: "Connect",
    Reason.ConnectRefused: "Connect",
    Reason.ConnectTimeout: "Connect",
    Reason.ConnectionReset: "Connect",
    Reason.IncompleteAnswer: "Connect",
    Reason.AttemptTimeout: "Timeout",
    Reason.IdleTimeout: "Timeout",
    Reason.ServerError: "ServerError",
    Reason.Throttled: "Throttled",
}
"""What is in none would end the same way again: a certificate, an answer that is too large."""
_UNSENT = frozenset({Reason.NameNotResolved, Reason.ConnectRefused, Reason.ConnectTimeout})
"""No byte of the request has left: the tool cannot have acted on it."""


class Ended(StrEnum):
    """Why there is no further attempt."""

    NotListed = "NotListed"
    """`retry.on` does not have it, or it could not end in any other way."""
    Answered = "Answered"
    """The agent has the beginning of an answer."""
    NotRepeatable = "NotRepeatable"
    """The tool may have acted, and nothing says that it may act twice."""
    AttemptsSpent = "AttemptsSpent"
    CircuitOpen = "CircuitOpen"
    Refused = "Refused"
    """By a rule, while it waited: switched off meanwhile, or throttled."""
    NoTime = "NoTime"
    """The deadline comes before the next attempt."""
    BudgetSpent = "BudgetSpent"


class Failed(NamedTuple):
    """An attempt that failed. `attempts` counts it."""

    reason: Reason
    attempts: int
    answered: bool
    """Something of an answer has gone to the agent."""
    keyed: bool
    """It carries a key by which the tool knows a repetition."""
    resendable: bool
    """Its body can be sent a second time."""
    circuit_open: bool
    now: float
    deadline: float
    """Of the whole call. Both in monotonic seconds."""
    wait_s: float
    """What the server asked for by Retry-After, 0: nothing."""


def backoff_s(retry: snapshot.Retry, attempts: int, fraction: float) -> float:
    """Full jitter: anything from 0 to the ceiling, which doubles with each attempt up to its maximum.
    `fraction` is random in [0, 1). (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.)"""
    ceiling_ms = min(retry.backoff_max_ms, retry.backoff_base_ms << (attempts - 1))
    return fraction * ceiling_ms / 1000


def again(retry: snapshot.Retry, failed: Failed, budget: RetryBudget, fraction: float) -> float | Ended:
    """Seconds until the next attempt, which is taken from the budget; or why there is none.

    A wait that the server asked for is kept whole, and the back-off comes on top: else all who were told the same
    would come back in the same moment."""
    if failed.reason is Reason.TotalTimeout:
        return Ended.NoTime
    kind = _CLASSES.get(failed.reason)
    if kind is None or kind not in retry.on:
        return Ended.NotListed
    if failed.answered:
        return Ended.Answered
    if not _repeatable(retry, failed):
        return Ended.NotRepeatable
    if failed.attempts >= retry.max_attempts:
        return Ended.AttemptsSpent
    if failed.circuit_open:
        return Ended.CircuitOpen
    delay_s = failed.wait_s + backoff_s(retry, failed.attempts, fraction)
    if failed.now + delay_s >= failed.deadline:
        return Ended.NoTime
    if not budget.withdraw(failed.now):
        return Ended.BudgetSpent
    return delay_s


def _repeatable(retry: snapshot.Retry, failed: Failed) -> bool:
    if failed.reason in _UNSENT:
        return True
    return failed.resendable and (retry.idempotent or failed.keyed)
