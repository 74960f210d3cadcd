"""The breaker's cases by name."""

import math

import pytest

from tests.unit.resilience.breakers import OPEN_FOR_S, admitted, config, fail, opened, refused, succeed
from toolpolicy_api import snapshot
from toolpolicy_sidecar.resilience.breaker import CircuitBreaker, Outcome, Rejected, StateChange


def test_opens_on_the_nth_failure_in_a_row_and_says_so() -> None:
    breaker = CircuitBreaker(config())
    assert fail(breaker, 1.0, times=2) is None
    assert fail(breaker, 2.0) == StateChange("Closed", "Open", "3 consecutive failures", 2.0, 32.0)
    assert breaker.open_until == 32.0
    assert refused(breaker, 12.0) == Rejected("3 consecutive failures", 20.0)


def test_a_success_between_ends_the_row() -> None:
    breaker = CircuitBreaker(config())
    fail(breaker, 0, times=2)
    succeed(breaker, 0)
    assert fail(breaker, 0, times=2) is None
    assert fail(breaker, 0) is not None


def test_a_neutral_between_does_not_end_the_row_and_is_no_sample() -> None:
    rate = snapshot.CallRates(failure_percent=50, minimum_calls=4, calls=10)
    breaker = CircuitBreaker(config(rates=rate))
    fail(breaker, 0, times=2)
    for _ in range(10):
        assert breaker.record(admitted(breaker, 0), Outcome.NEUTRAL, 0) is None
    assert fail(breaker, 0) is not None


def test_opens_at_the_rate_and_not_below_it() -> None:
    rate = snapshot.CallRates(failure_percent=60, minimum_calls=20, calls=20)
    breaker = CircuitBreaker(config(consecutive_failures=None, rates=rate))
    succeed(breaker, 0, times=8)
    assert fail(breaker, 0, times=11) is None
    change = fail(breaker, 0)
    assert change is not None
    assert change.reason == "60% of 20 calls failed"


def test_two_of_three_is_below_67_percent() -> None:
    rate = snapshot.CallRates(failure_percent=67, minimum_calls=3, calls=3)
    breaker = CircuitBreaker(config(consecutive_failures=None, rates=rate))
    fail(breaker, 0, times=2)
    assert succeed(breaker, 0) is None
    assert fail(breaker, 0) is None  # F S F: 66.67 %


def test_minimum_calls_may_be_reached_by_a_success() -> None:
    rate = snapshot.CallRates(failure_percent=50, minimum_calls=4, calls=10)
    breaker = CircuitBreaker(config(consecutive_failures=None, rates=rate))
    fail(breaker, 0, times=3)
    change = succeed(breaker, 0)
    assert change is not None
    assert change.reason == "75% of 4 calls failed"


def test_old_failures_leave_a_window_of_time() -> None:
    rate = snapshot.CallRates(failure_percent=50, minimum_calls=4, window_ms=10_000)
    breaker = CircuitBreaker(config(consecutive_failures=None, rates=rate))
    fail(breaker, 100.0, times=3)
    assert fail(breaker, 110.1, times=3) is None
    assert fail(breaker, 110.2) is not None


def test_closes_after_one_probe_and_forgets_the_past() -> None:
    breaker = opened()
    probe = admitted(breaker, OPEN_FOR_S)
    assert probe.changes == (StateChange("Open", "HalfOpen", "open time over", OPEN_FOR_S),)
    change = breaker.record(probe, Outcome.SUCCESS, 31.0)
    assert change == StateChange("HalfOpen", "Closed", "probe succeeded", 31.0)
    assert fail(breaker, 32.0, times=2) is None


def test_half_open_time_is_reached_exactly_and_not_before() -> None:
    breaker = opened()
    just_before = math.nextafter(OPEN_FOR_S, 0)
    assert refused(breaker, just_before).retry_after_s == OPEN_FOR_S - just_before
    assert admitted(breaker, OPEN_FOR_S).changes


def test_a_failed_probe_opens_for_another_period_from_when_it_was_sent_and_names_its_cause() -> None:
    breaker = opened()
    change = breaker.record(admitted(breaker, 40.0), Outcome.FAILURE, 42.0, cause="AttemptTimeout")
    assert change == StateChange("HalfOpen", "Open", "probe failed: AttemptTimeout", 42.0, 70.0)
    assert refused(breaker, 69.9).reason == "probe failed: AttemptTimeout"


def test_as_many_probes_as_configured_are_admitted_and_needed() -> None:
    breaker = opened(half_open_calls=3)
    probes = [admitted(breaker, 30.0) for _ in range(3)]
    assert refused(breaker, 30.0).reason == "half-open, and every probe is in flight"
    assert breaker.record(probes[0], Outcome.SUCCESS, 31.0) is None
    refused(breaker, 31.0)  # two in flight and one done: a fourth is not needed
    assert breaker.record(probes[1], Outcome.NEUTRAL, 31.0) is None
    fourth = admitted(breaker, 31.0)
    assert breaker.record(probes[2], Outcome.SUCCESS, 31.0) is None
    change = breaker.record(fourth, Outcome.SUCCESS, 31.0)
    assert change is not None
    assert change.reason == "3 probes succeeded"


def test_probes_that_succeeded_before_a_reopening_do_not_count_after_it() -> None:
    breaker = opened(half_open_calls=2)
    succeed(breaker, 30.0)
    fail(breaker, 30.0)
    assert succeed(breaker, 60.0) is None
    assert succeed(breaker, 60.0) is not None


def test_samples_from_before_an_opening_do_not_count_after_closing() -> None:
    rate = snapshot.CallRates(failure_percent=50, minimum_calls=4, calls=10)
    breaker = CircuitBreaker(config(consecutive_failures=None, rates=rate))
    fail(breaker, 0, times=4)
    succeed(breaker, 30.0)
    assert breaker.state == "Closed"
    assert fail(breaker, 31.0, times=3) is None


def test_the_first_lease_to_expire_reopens() -> None:
    breaker = opened(half_open_calls=2)
    breaker.acquire(30.0, deadline=31.0)
    breaker.acquire(30.0, deadline=90.0)
    assert breaker.state_at(32.0).since == 32.0


def test_one_failed_probe_of_several_reopens_and_the_rest_are_late() -> None:
    breaker = opened(half_open_calls=3)
    probes = [admitted(breaker, 30.0) for _ in range(3)]
    assert breaker.record(probes[0], Outcome.FAILURE, 31.0) is not None
    assert breaker.record(probes[1], Outcome.SUCCESS, 32.0) is None
    assert breaker.record(probes[2], Outcome.FAILURE, 33.0) is None
    assert breaker.open_until == 60.0


def test_a_window_of_calls_is_resized_and_keeps_the_newest() -> None:
    def limits(percent: int, calls: int) -> snapshot.Breaker:
        rate = snapshot.CallRates(failure_percent=percent, minimum_calls=3, calls=calls)
        return config(consecutive_failures=None, rates=rate)

    breaker = CircuitBreaker(limits(100, 100))
    fail(breaker, 0)
    succeed(breaker, 0)
    fail(breaker, 0, times=9)
    breaker.reconfigure(limits(100, 4), 1.0)
    assert fail(breaker, 1.0) is not None


def test_a_window_of_time_is_resized_and_keeps_the_newest() -> None:
    def limits(percent: int, window_ms: int) -> snapshot.Breaker:
        rate = snapshot.CallRates(failure_percent=percent, minimum_calls=3, window_ms=window_ms)
        return config(consecutive_failures=None, rates=rate)

    breaker = CircuitBreaker(limits(100, 60_000))
    succeed(breaker, 100.0)
    fail(breaker, 120.0, times=3)
    breaker.reconfigure(limits(100, 10_000), 121.0)
    change = fail(breaker, 121.0)
    assert change is not None
    assert change.reason == "100% of 4 calls failed"


def test_calls_become_time_and_back_without_samples() -> None:
    by_calls = snapshot.CallRates(failure_percent=100, minimum_calls=3, calls=10)
    by_time = snapshot.CallRates(failure_percent=100, minimum_calls=3, window_ms=10_000)
    breaker = CircuitBreaker(config(consecutive_failures=None, rates=by_calls))
    fail(breaker, 0, times=2)
    for rate in (by_time, by_calls, None, by_time):
        breaker.reconfigure(config(consecutive_failures=None, rates=rate), 0)
        assert fail(breaker, 0, times=2) is None


def test_a_rate_with_no_window_is_refused() -> None:
    with pytest.raises(ValueError, match="calls or window_ms"):
        CircuitBreaker(config(rates=snapshot.CallRates(failure_percent=1, minimum_calls=1)))


def test_forced_open_refuses_at_once_and_nobody_knows_for_how_long() -> None:
    breaker = CircuitBreaker(config())
    early = admitted(breaker, 0)
    changes = breaker.reconfigure(config(mode="ForcedOpen"), 1.0)
    assert changes == (StateChange("Closed", "Open", "forced open by policy", 1.0),)
    assert refused(breaker, 1e6) == Rejected("forced open by policy", None)
    assert breaker.record(early, Outcome.SUCCESS, 2.0) is None
    assert breaker.reset(3.0) == ()
    assert breaker.state_at(1e6).state == "Open"
    changes = breaker.reconfigure(config(), 4.0)
    assert changes == (StateChange("Open", "Closed", "no longer forced by policy", 4.0),)


def test_forced_closed_lets_everything_pass_and_starts_without_samples_after() -> None:
    breaker = opened()
    changes = breaker.reconfigure(config(mode="ForcedClosed"), 1.0)
    assert changes == (StateChange("Open", "Closed", "forced closed by policy", 1.0),)
    assert fail(breaker, 2.0, times=50) is None
    assert breaker.reconfigure(config(), 3.0) == ()
    assert fail(breaker, 3.0, times=2) is None
    assert fail(breaker, 3.0) is not None


@pytest.mark.parametrize(
    ("mode", "state", "reason"),
    [
        ("Auto", "Closed", None),
        ("Observe", "Closed", None),
        ("ForcedOpen", "Open", "forced open by policy"),
        ("ForcedClosed", "Closed", "forced closed by policy"),
    ],
)
def test_a_new_circuit_stands_as_its_mode_says(mode: str, state: str, reason: str | None) -> None:
    standing = CircuitBreaker(config(mode=mode)).state_at(5.0)
    assert (standing.state, standing.reason, standing.since) == (state, reason, None)


def test_forced_open_while_open_is_no_second_event_and_keeps_its_start() -> None:
    breaker = opened(now=7.0)
    assert breaker.reconfigure(config(mode="ForcedOpen"), 8.0) == ()
    standing = breaker.state_at(9.0)
    assert (standing.since, standing.reason, standing.open_until) == (7.0, "forced open by policy", None)


def test_observe_reports_what_auto_would_do_and_lets_pass() -> None:
    breaker = CircuitBreaker(config(mode="Observe"))
    assert fail(breaker, 0, times=3) is not None
    beside = admitted(breaker, 10.0)
    assert beside.would_reject == Rejected("3 consecutive failures", 20.0)
    breaker.record(beside, Outcome.SUCCESS, 11.0)
    assert breaker.state == "Open"
    probe = admitted(breaker, 30.0)
    assert probe.would_reject is None
    second = admitted(breaker, 30.0)
    assert second.would_reject is not None
    assert breaker.record(second, Outcome.SUCCESS, 31.0) is None  # passed beside the probe: no verdict
    assert breaker.record(probe, Outcome.SUCCESS, 31.0) is not None


def test_what_observe_let_pass_beside_the_probe_cannot_ask_for_time() -> None:
    breaker = opened(mode="Observe")
    probe, beside = admitted(breaker, 30.0), admitted(breaker, 30.0)
    assert breaker.record(beside, Outcome.FAILURE, 31.0, retry_after_s=200) is None
    change = breaker.record(probe, Outcome.FAILURE, 31.0)
    assert change is not None
    assert change.open_until == 60.0


def test_a_permit_of_another_breaker_has_no_say() -> None:
    """A breaker that a policy took away and gave back is a new one; calls of the old one may still run."""
    old, new = CircuitBreaker(config()), CircuitBreaker(config())
    for _ in range(3):
        assert new.record(admitted(old, 0), Outcome.FAILURE, 0) is None
    assert new.state == "Closed"


def test_a_permit_counts_once() -> None:
    breaker = CircuitBreaker(config())
    permit = admitted(breaker, 0)
    for _ in range(10):
        assert breaker.record(permit, Outcome.FAILURE, 0) is None
    assert fail(breaker, 0) is None
    assert fail(breaker, 0) is not None


def test_reset_closes_and_makes_what_is_in_flight_late() -> None:
    breaker = opened()
    probe = admitted(breaker, 30.0)
    assert breaker.reset(31.0) == (StateChange("HalfOpen", "Closed", "reset by hand", 31.0),)
    assert breaker.record(probe, Outcome.FAILURE, 31.0) is None
    assert fail(breaker, 31.0, times=2) is None


def test_state_at_tells_the_truth_without_a_call() -> None:
    breaker = opened()
    assert breaker.state_at(29.9).open_until == 30.0
    over = breaker.state_at(100.0)
    assert (over.state, over.since, over.open_until) == ("HalfOpen", 30.0, None)
    admitted(breaker, 100.0)
    assert breaker.state_at(105.9).state == "HalfOpen"
    lost = breaker.state_at(106.0)
    assert (lost.state, lost.since, lost.open_until) == ("Open", 106.0, 130.0)
    assert breaker.state_at(130.0).state == "HalfOpen"
    assert breaker.state == "HalfOpen"  # asking changed nothing


def test_time_that_goes_back_is_survived() -> None:
    rate = snapshot.CallRates(failure_percent=100, minimum_calls=3, window_ms=1_000)
    breaker = CircuitBreaker(config(consecutive_failures=None, rates=rate))
    fail(breaker, 10.0)
    fail(breaker, 9.0)
    assert fail(breaker, 10.0) is not None
