"""Breakers and calls for the tests: three failures open for half a minute, one probe closes."""

from toolpolicy_api import snapshot
from toolpolicy_sidecar.resilience.breaker import CircuitBreaker, Outcome, Permit, Rejected, StateChange

OPEN_FOR_S = 30.0
DEADLINE_S = 5.0


def config(**changes: object) -> snapshot.Breaker:
    values: dict[str, object] = {"open_for_ms": 30_000, "half_open_calls": 1, "consecutive_failures": 3}
    return snapshot.Breaker(**(values | changes))  # type: ignore[arg-type] # a few fields of each test's own


def admitted(breaker: CircuitBreaker, now: float) -> Permit:
    verdict = breaker.acquire(now, deadline=now + DEADLINE_S)
    assert isinstance(verdict, Permit), verdict
    return verdict


def refused(breaker: CircuitBreaker, now: float) -> Rejected:
    verdict = breaker.acquire(now, deadline=now + DEADLINE_S)
    assert isinstance(verdict, Rejected)
    return verdict


def fail(breaker: CircuitBreaker, now: float, times: int = 1) -> StateChange | None:
    change = None
    for _ in range(times):
        change = breaker.record(admitted(breaker, now), Outcome.FAILURE, now)
    return change


def succeed(breaker: CircuitBreaker, now: float, times: int = 1) -> StateChange | None:
    change = None
    for _ in range(times):
        change = breaker.record(admitted(breaker, now), Outcome.SUCCESS, now)
    return change


def opened(now: float = 0.0, **changes: object) -> CircuitBreaker:
    breaker = CircuitBreaker(config(**changes))
    assert fail(breaker, now, times=3)
    assert breaker.state == "Open"
    return breaker
