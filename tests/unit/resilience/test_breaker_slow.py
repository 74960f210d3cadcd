"""Calls that are answered, and too late to be of use: `slowCall`."""

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar.resilience.breaker import CircuitBreaker, Outcome, Permit, StateChange

SLOW_S, FAST_S = 5.001, 5.0
"""One millisecond over the limit, and at the limit."""


def breaker(percent: int = 50, *, half_open_calls: int = 1, **window: int) -> CircuitBreaker:
    slow = snapshot.SlowCall(over_ms=5_000, percent=percent)
    rates = snapshot.CallRates(**({"minimum_calls": 4, "calls": 10} | window), slow_call=slow)
    return CircuitBreaker(snapshot.Breaker(30_000, half_open_calls, rates=rates))


def settle(
    circuit: CircuitBreaker, duration_s: float, now: float = 0.0, outcome: Outcome = Outcome.SUCCESS
) -> StateChange | None:
    permit = circuit.acquire(now, deadline=now + 60)
    assert isinstance(permit, Permit), permit
    return circuit.record(permit, outcome, now, duration_s=duration_s)


def opened(percent: int = 50, *, half_open_calls: int = 1) -> CircuitBreaker:
    circuit = breaker(percent, half_open_calls=half_open_calls)
    for _ in range(4):
        settle(circuit, SLOW_S)
    assert circuit.state == "Open"
    return circuit


def test_opens_at_the_share_of_slow_calls_and_says_so() -> None:
    circuit = breaker()
    assert [settle(circuit, each) for each in (FAST_S, FAST_S, SLOW_S)] == [None] * 3
    assert settle(circuit, SLOW_S, 1.0) == StateChange(
        "Closed", "Open", "50% of 4 calls took over 5s", 1.0, 31.0
    )


def test_exactly_as_long_as_the_limit_is_not_slow() -> None:
    circuit = breaker(1)
    assert [settle(circuit, FAST_S) for _ in range(20)] == [None] * 20


def test_no_verdict_before_the_minimum_of_calls() -> None:
    circuit = breaker(1, minimum_calls=8)
    assert [settle(circuit, SLOW_S) for _ in range(7)] == [None] * 7
    assert settle(circuit, FAST_S) is not None


def test_a_slow_failure_is_slow_too_and_a_slow_neutral_is_no_sample() -> None:
    circuit = breaker(100)
    for _ in range(20):
        assert settle(circuit, SLOW_S, outcome=Outcome.NEUTRAL) is None
    for _ in range(3):
        assert settle(circuit, SLOW_S, outcome=Outcome.FAILURE) is None
    change = settle(circuit, SLOW_S)
    assert change is not None
    assert change.reason == "100% of 4 calls took over 5s"


def test_old_slow_calls_leave_a_window_of_calls() -> None:
    circuit = breaker(50, calls=4)
    settle(circuit, SLOW_S)
    for _ in range(3):
        settle(circuit, FAST_S)
    assert [settle(circuit, each) for each in (FAST_S, FAST_S, FAST_S, SLOW_S)] == [None] * 4
    assert settle(circuit, SLOW_S) is not None


def test_old_slow_calls_leave_a_window_of_time() -> None:
    slow = snapshot.SlowCall(over_ms=5_000, percent=50)
    rates = snapshot.CallRates(minimum_calls=2, window_ms=10_000, slow_call=slow)
    circuit = CircuitBreaker(snapshot.Breaker(30_000, 1, rates=rates))
    assert settle(circuit, SLOW_S, 100.0) is None
    assert settle(circuit, FAST_S, 110.1) is None
    assert settle(circuit, FAST_S, 110.1) is None
    assert settle(circuit, SLOW_S, 110.1) is None
    assert settle(circuit, SLOW_S, 110.2) is not None


def test_failures_and_slow_calls_share_one_window_and_have_each_their_share() -> None:
    slow = snapshot.SlowCall(over_ms=5_000, percent=60)
    rates = snapshot.CallRates(minimum_calls=4, calls=4, failure_percent=60, slow_call=slow)
    circuit = CircuitBreaker(snapshot.Breaker(30_000, 1, rates=rates))
    for _ in range(2):
        assert settle(circuit, SLOW_S) is None
        assert settle(circuit, FAST_S, outcome=Outcome.FAILURE) is None
    change = settle(circuit, FAST_S, outcome=Outcome.FAILURE)
    assert change is not None
    assert change.reason == "75% of 4 calls failed"


@pytest.mark.parametrize("percent", [1, 50, 100])
def test_a_slow_probe_opens_again(percent: int) -> None:
    circuit = opened(percent)
    change = settle(circuit, SLOW_S, 30.0)
    assert change == StateChange("HalfOpen", "Open", "probe took over 5s", 30.0, 60.0)
    assert settle(circuit, FAST_S, 60.0) is not None
    assert circuit.state == "Closed"


def test_of_several_probes_as_many_may_be_slow_as_of_calls() -> None:
    circuit = opened(50, half_open_calls=4)
    assert settle(circuit, SLOW_S, 30.0) is None
    assert settle(circuit, FAST_S, 30.0) is None
    assert settle(circuit, FAST_S, 30.0) is None
    change = settle(circuit, FAST_S, 30.0)
    assert change is not None
    assert change.reason == "4 probes succeeded"


def test_probes_open_again_as_soon_as_the_share_is_certain() -> None:
    circuit = opened(50, half_open_calls=4)
    assert settle(circuit, SLOW_S, 30.0) is None
    change = settle(circuit, SLOW_S, 30.0)
    assert change is not None
    assert change.reason == "2 of 4 probes took over 5s"


def test_slow_probes_of_an_earlier_half_open_time_do_not_count() -> None:
    circuit = opened(50, half_open_calls=4)
    settle(circuit, SLOW_S, 30.0)
    settle(circuit, SLOW_S, 30.0, Outcome.FAILURE)
    assert settle(circuit, SLOW_S, 60.0) is None


def test_a_reload_keeps_the_slow_calls_and_takes_the_new_share() -> None:
    circuit = breaker(100)
    for duration_s in (SLOW_S, SLOW_S, FAST_S, FAST_S):
        settle(circuit, duration_s)
    slow = snapshot.SlowCall(over_ms=1, percent=60)
    rates = snapshot.CallRates(minimum_calls=4, calls=10, slow_call=slow)
    circuit.reconfigure(snapshot.Breaker(30_000, 1, rates=rates), 1.0)
    assert circuit.state == "Closed"
    change = settle(circuit, FAST_S, 2.0)
    assert change is not None
    assert change.reason == "60% of 5 calls took over 1ms"
