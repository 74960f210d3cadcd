"""What a tool and the defaults have alike; timeouts."""

from collections.abc import Iterator

from toolpolicy_api import policy as written
from toolpolicy_api.check.circuit_breaker import check_breaker, check_slow_call
from toolpolicy_api.check.concurrency import check_concurrency
from toolpolicy_api.check.fallback import check_fallback
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.check.retry import check_retry
from toolpolicy_api.compile import effective_concurrency, effective_timeouts
from toolpolicy_api.duration import milliseconds, render


def check_rules(own: written.Rules, defaults: written.Rules | None, field: str) -> Iterator[Finding]:
    default_timeout = defaults.timeout if defaults else None
    for name in ("total", "attempt", "connect", "idle"):
        text = getattr(own.timeout, name, None)
        if text is not None and milliseconds(text) == 0:
            yield Finding(f"{field}.timeout.{name}", "must be longer than zero")
    if own.timeout:
        times = effective_timeouts(own.timeout, default_timeout)
        total, attempt, connect = (render(ms) for ms in (times.total_ms, times.attempt_ms, times.connect_ms))
        if times.attempt_ms > times.total_ms:
            yield Finding(
                f"{field}.timeout.attempt",
                f"{attempt} is longer than the total of {total}; shorten attempt or lengthen total",
            )
        elif times.connect_ms > times.attempt_ms:
            yield Finding(
                f"{field}.timeout.connect",
                f"{connect} is longer than the attempt of {attempt}; shorten connect or lengthen attempt",
            )
    if own.retry:
        yield from check_retry(own.retry, defaults.retry if defaults else None, f"{field}.retry")
    if own.circuit_breaker:
        default_breaker = defaults.circuit_breaker if defaults else None
        yield from check_breaker(own.circuit_breaker, default_breaker, f"{field}.circuitBreaker")
    yield from check_slow_call(own, defaults, field)
    if own.concurrency:
        limit = effective_concurrency(own.concurrency, defaults.concurrency if defaults else None)
        total_ms = effective_timeouts(own.timeout, default_timeout).total_ms
        yield from check_concurrency(own.concurrency, limit, total_ms, f"{field}.concurrency")
    if own.fallback:
        yield from check_fallback(own.fallback, f"{field}.fallback")
