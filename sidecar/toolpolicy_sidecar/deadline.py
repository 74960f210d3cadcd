"""Which time limit comes first, and what it is called. Pure arithmetic over monotonic seconds."""

from typing import NamedTuple

from toolpolicy_api.snapshot import Timeouts
from toolpolicy_sidecar.reasons import Reason


class Deadline(NamedTuple):
    """When to give up, why, and how to say it."""

    at: float
    reason: Reason
    limit_ms: int

    @property
    def detail(self) -> str:
        name = {Reason.TotalTimeout: "total", Reason.AttemptTimeout: "attempt", Reason.IdleTimeout: "idle"}
        return f"the limit of {self.limit_ms} ms ({name[self.reason]}) is over"


def of_attempt(timeouts: Timeouts, arrived: float, started: float) -> Deadline:
    """For one attempt that begins at `started`, of a call that arrived at `arrived`."""
    total = Deadline(arrived + timeouts.total_ms / 1000, Reason.TotalTimeout, timeouts.total_ms)
    attempt = Deadline(started + timeouts.attempt_ms / 1000, Reason.AttemptTimeout, timeouts.attempt_ms)
    return attempt if attempt.at < total.at else total


def of_read(attempt: Deadline, timeouts: Timeouts, now: float) -> Deadline:
    """For the next piece of an answer that has begun."""
    if timeouts.idle_ms is None:
        return attempt
    idle = Deadline(now + timeouts.idle_ms / 1000, Reason.IdleTimeout, timeouts.idle_ms)
    return idle if idle.at < attempt.at else attempt
