"""When a tool is not called."""

from collections.abc import Iterator

from toolpolicy_api import policy as written
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.compile import effective_open_times, effective_timeouts
from toolpolicy_api.duration import milliseconds, render


def check_breaker(
    breaker: written.CircuitBreaker, default: written.CircuitBreaker | None, field: str
) -> Iterator[Finding]:
    if breaker.open_for is not None and milliseconds(breaker.open_for) == 0:
        yield Finding(f"{field}.openFor", "must be longer than zero")
    open_for_ms, max_open_for_ms = effective_open_times(breaker, default)
    if max_open_for_ms is not None and max_open_for_ms < open_for_ms:
        shortest, longest = render(open_for_ms), render(max_open_for_ms)
        yield Finding(
            f"{field}.maxOpenFor",
            f"{longest} is shorter than the openFor of {shortest}; lengthen maxOpenFor or shorten openFor",
        )
    if breaker.slow_call is not None and milliseconds(breaker.slow_call.over) == 0:
        yield Finding(f"{field}.slowCall.over", "must be longer than zero")
    rate = breaker.failure_rate
    if rate is None:
        return
    if (rate.window is None) == (rate.calls is None):
        yield Finding(f"{field}.failureRate", "set window (time) or calls (count), one of the two")
    if rate.window is not None and milliseconds(rate.window) == 0:
        yield Finding(f"{field}.failureRate.window", "must be longer than zero")
    if rate.calls is not None and rate.minimum_calls is not None and rate.minimum_calls > rate.calls:
        yield Finding(
            f"{field}.failureRate.minimumCalls",
            f"{rate.minimum_calls} is larger than calls ({rate.calls}), so the rate would never be evaluated",
        )


def check_slow_call(own: written.Rules, defaults: written.Rules | None, field: str) -> Iterator[Finding]:
    """Said of a tool only if it is the tool's own doing: the defaults have their own finding."""
    breaker, timeout = own.circuit_breaker, own.timeout
    default_breaker = defaults.circuit_breaker if defaults else None
    slow = (breaker and breaker.slow_call) or (default_breaker and default_breaker.slow_call)
    if not slow or not (timeout or (breaker and breaker.slow_call)):
        return
    attempt_ms = effective_timeouts(timeout, defaults.timeout if defaults else None).attempt_ms
    if milliseconds(slow.over) >= attempt_ms:
        yield Finding(
            f"{field}.circuitBreaker.slowCall.over",
            f"{slow.over} is not below the attempt of {render(attempt_ms)}, so every such call is a timeout; "
            "shorten over or lengthen timeout.attempt",
        )
