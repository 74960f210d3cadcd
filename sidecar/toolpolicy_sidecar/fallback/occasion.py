"""When a fallback answers: the tool fails, or is spared for failing or for being busy. Pure.

Never for what the agent itself must change (a malformed request, a method that is not listed, an answer that is too
large), never for what redaction withholds, and never for a tool that somebody has switched off: there the standard
answer says what nobody should paper over."""

from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason

REASONS = frozenset(
    {
        Reason.CircuitOpen,
        Reason.ConcurrencyLimit,
        Reason.QueueTimeout,
        Reason.NameNotResolved,
        Reason.ConnectRefused,
        Reason.TlsFailed,
        Reason.ConnectTimeout,
        Reason.AttemptTimeout,
        Reason.TotalTimeout,
        Reason.IdleTimeout,
        Reason.ConnectionReset,
        Reason.IncompleteAnswer,
        Reason.MalformedAnswer,
        Reason.ServerError,
        Reason.Throttled,
    }
)


def of_status(status: int) -> Problem | None:
    """A tool's answer that a fallback replaces: 429, and 5xx except 501, which says that the server works."""
    detail = f"its server answered HTTP {status}"
    if status == 429:
        return Problem(Reason.Throttled, detail, answered=True)
    if status >= 500 and status != 501:
        return Problem(Reason.ServerError, detail, answered=True)
    return None
