"""Limits of calls at once."""

from collections.abc import Iterator

from toolpolicy_api import policy as written
from toolpolicy_api import snapshot as compiled
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.duration import milliseconds, render


def check_concurrency(
    own: written.Concurrency, limit: compiled.Concurrency | None, total_ms: int | None, field: str
) -> Iterator[Finding]:
    """A queue timeout that can never be reached would be accepted and not enforced."""
    if limit is not None and limit.adaptive_min is not None and limit.adaptive_min > limit.max:
        yield Finding(
            f"{field}.adaptive.min",
            f"{limit.adaptive_min} is larger than the max of {limit.max}; lower it or raise max",
        )
    if own.queue_timeout is None:
        return
    timeout_ms = milliseconds(own.queue_timeout)
    if timeout_ms == 0:
        yield Finding(f"{field}.queueTimeout", "must be longer than zero")
    elif limit is not None and limit.queue == 0:
        yield Finding(f"{field}.queueTimeout", "there is no queue to wait in; set queue, or remove it")
    elif total_ms is not None and timeout_ms > total_ms:
        yield Finding(
            f"{field}.queueTimeout",
            f"{render(timeout_ms)} is longer than the total of {render(total_ms)}; shorten it or lengthen"
            " timeout.total",
        )
