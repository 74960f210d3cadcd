"""The breaker's cases by name. Numbers in brackets are those that naive implementations fail."""

import ast
import inspect
import math

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar.resilience import breaker as breaker_module
from toolpolicy_sidecar.resilience import call_rates as call_rates_module
from toolpolicy_sidecar.resilience import window as window_module
from toolpolicy_sidecar.resilience.breaker import (
    LEASE_GRACE_S,
    CircuitBreaker,
    Outcome,
    Permit,
    Rejected,
    StateChange,
)

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


def test_a_failed_probe_opens_for_another_period_and_names_its_cause() -> None:
    breaker = opened()
    change = breaker.record(admitted(breaker, 40.0), Outcome.FAILURE, 42.0, cause="AttemptTimeout")
    assert change == StateChange("HalfOpen", "Open", "probe failed: AttemptTimeout", 42.0, 72.0)
    assert refused(breaker, 71.9).reason == "probe failed: AttemptTimeout"


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
    assert breaker.open_until == 61.0


def test_case_1_a_late_success_begun_closed_does_not_close_a_half_open_circuit() -> None:
    breaker = CircuitBreaker(config())
    early = admitted(breaker, 0)
    fail(breaker, 0, times=3)
    admitted(breaker, OPEN_FOR_S)
    assert breaker.record(early, Outcome.SUCCESS, 31.0) is None
    assert breaker.state == "HalfOpen"


def test_case_2_a_late_failure_neither_lengthens_the_open_time_nor_is_a_second_event() -> None:
    breaker = CircuitBreaker(config())
    early = [admitted(breaker, 0) for _ in range(5)]
    assert [breaker.record(each, Outcome.FAILURE, 1.0) is not None for each in early] == [
        False,
        False,
        True,
        False,
        False,
    ]
    late = breaker.record(early[0], Outcome.FAILURE, 20.0)
    assert late is None
    assert breaker.open_until == 31.0


@pytest.mark.parametrize("why", ["case 3: the agent hung up", "case 4: a 4xx, or a body error"])
def test_case_3_and_4_a_neutral_probe_frees_its_slot(why: str) -> None:
    breaker = opened()
    probe = admitted(breaker, 30.0)
    refused(breaker, 30.5)
    assert breaker.record(probe, Outcome.NEUTRAL, 31.0) is None
    assert breaker.state == "HalfOpen"
    assert succeed(breaker, 31.0) is not None


def test_case_5_the_lease_of_a_probe_that_never_settles_expires() -> None:
    breaker = opened()
    admitted(breaker, 30.0)  # and lost
    lost_at = 30.0 + DEADLINE_S + LEASE_GRACE_S
    assert refused(breaker, math.nextafter(lost_at, 0)).changes == ()
    verdict = refused(breaker, lost_at + 1)
    assert verdict.changes == (
        StateChange("HalfOpen", "Open", "probe failed: it never ended", lost_at, lost_at + OPEN_FOR_S),
    )
    assert verdict.retry_after_s == OPEN_FOR_S - 1
    assert succeed(breaker, lost_at + OPEN_FOR_S) is not None


def test_case_5_much_later_both_changes_are_reported_with_their_own_times() -> None:
    breaker = opened()
    admitted(breaker, 30.0)
    probe = admitted(breaker, 1000.0)
    assert [(change.after, change.at) for change in probe.changes] == [("Open", 36.0), ("HalfOpen", 1000.0)]


def test_case_5_a_probe_that_settles_after_its_lease_changes_nothing_more() -> None:
    breaker = opened()
    probe = admitted(breaker, 30.0)
    change = breaker.record(probe, Outcome.SUCCESS, 50.0)
    assert change is not None
    assert (change.before, change.after, change.at) == ("HalfOpen", "Open", 36.0)


def test_case_5_a_timeout_reported_just_after_the_deadline_is_the_probes_own_failure() -> None:
    breaker = opened()
    change = breaker.record(
        admitted(breaker, 30.0), Outcome.FAILURE, 30.0 + DEADLINE_S + 0.02, cause="AttemptTimeout"
    )
    assert change is not None
    assert change.reason == "probe failed: AttemptTimeout"


def test_case_6_an_older_calls_neutral_end_does_not_free_the_probes_slot() -> None:
    breaker = CircuitBreaker(config())
    older = admitted(breaker, 0)
    fail(breaker, 0, times=3)
    lost = admitted(breaker, 30.0)  # a probe of an older half-open, too
    assert refused(breaker, 40.0).changes
    admitted(breaker, 80.0)
    breaker.record(older, Outcome.NEUTRAL, 81.0)
    breaker.record(lost, Outcome.NEUTRAL, 81.0)
    refused(breaker, 81.0)


def test_case_7_of_n_calls_at_expiry_one_is_admitted() -> None:
    breaker = opened()
    verdicts = [breaker.acquire(30.0, deadline=35.0) for _ in range(50)]
    assert [isinstance(verdict, Permit) for verdict in verdicts] == [True] + [False] * 49
    assert sum(len(verdict.changes) for verdict in verdicts) == 1


@pytest.mark.parametrize("module", [breaker_module, call_rates_module, window_module])
def test_case_8_no_clock_can_be_read(module: object) -> None:
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type] # modules are objects here
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"time", "datetime", "asyncio", "random"}


def test_case_9_an_open_circuit_refuses_the_attempt_after_a_back_off() -> None:
    breaker = CircuitBreaker(config())
    fail(breaker, 0)  # a first attempt, then its back-off
    fail(breaker, 0.1, times=2)
    refused(breaker, 0.2)


def test_case_15_reload_while_open_keeps_state_and_deadline() -> None:
    breaker = opened()
    assert breaker.reconfigure(config(open_for_ms=1_000, consecutive_failures=9), 10.0) == ()
    assert refused(breaker, 29.0).retry_after_s == 1.0
    breaker.record(admitted(breaker, 30.0), Outcome.FAILURE, 30.0)
    assert breaker.open_until == 31.0  # the new length, from the next opening on


def test_case_15_reload_while_half_open_keeps_the_probe() -> None:
    breaker = opened()
    probe = admitted(breaker, 30.0)
    assert breaker.reconfigure(config(open_for_ms=1_000), 30.5) == ()
    refused(breaker, 30.5)
    assert breaker.record(probe, Outcome.SUCCESS, 31.0) is not None
    assert breaker.state == "Closed"


def test_case_15_reload_while_closed_keeps_samples_and_applies_from_the_next_record() -> None:
    breaker = CircuitBreaker(config(consecutive_failures=10))
    fail(breaker, 0, times=5)
    assert breaker.reconfigure(config(consecutive_failures=3), 1.0) == ()
    assert breaker.state == "Closed"
    change = fail(breaker, 1.0)
    assert change is not None
    assert change.reason == "6 consecutive failures"


def test_case_15_a_limit_lowered_below_what_is_in_flight_never_wedges() -> None:
    breaker = opened(half_open_calls=4)
    probes = [admitted(breaker, 30.0) for _ in range(4)]
    breaker.reconfigure(config(half_open_calls=2), 30.0)
    refused(breaker, 30.0)
    breaker.record(probes[0], Outcome.NEUTRAL, 31.0)
    breaker.record(probes[1], Outcome.NEUTRAL, 31.0)
    refused(breaker, 31.0)
    breaker.record(probes[2], Outcome.SUCCESS, 31.0)
    breaker.reconfigure(config(half_open_calls=1), 31.0)
    breaker.record(probes[3], Outcome.NEUTRAL, 31.0)
    assert succeed(breaker, 31.0) is not None  # enough had succeeded: one more is admitted and closes
    assert breaker.state == "Closed"


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
    assert (lost.state, lost.since, lost.open_until) == ("Open", 106.0, 136.0)
    assert breaker.state_at(136.0).state == "HalfOpen"
    assert breaker.state == "HalfOpen"  # asking changed nothing


def test_time_that_goes_back_is_survived() -> None:
    rate = snapshot.CallRates(failure_percent=100, minimum_calls=3, window_ms=1_000)
    breaker = CircuitBreaker(config(consecutive_failures=None, rates=rate))
    fail(breaker, 10.0)
    fail(breaker, 9.0)
    assert fail(breaker, 10.0) is not None
