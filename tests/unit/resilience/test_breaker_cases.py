"""The cases that naive circuit breakers fail, by their numbers."""

import ast
import inspect
import math

import pytest

from tests.unit.resilience.breakers import (
    DEADLINE_S,
    OPEN_FOR_S,
    admitted,
    config,
    fail,
    opened,
    refused,
    succeed,
)
from toolpolicy_api import snapshot
from toolpolicy_sidecar.classify import of_status
from toolpolicy_sidecar.resilience import breaker as breaker_module
from toolpolicy_sidecar.resilience import call_rates as call_rates_module
from toolpolicy_sidecar.resilience import open_time as open_time_module
from toolpolicy_sidecar.resilience import window as window_module
from toolpolicy_sidecar.resilience.breaker import LEASE_GRACE_S, CircuitBreaker, Outcome, Permit, StateChange


def test_case_01_a_late_success_begun_closed_does_not_close_a_half_open_circuit() -> None:
    breaker = CircuitBreaker(config())
    early = admitted(breaker, 0)
    fail(breaker, 0, times=3)
    admitted(breaker, OPEN_FOR_S)
    assert breaker.record(early, Outcome.SUCCESS, 31.0) is None
    assert breaker.state == "HalfOpen"


def test_case_02_a_late_failure_neither_lengthens_the_open_time_nor_is_a_second_event() -> None:
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
def test_case_03_and_04_a_neutral_probe_frees_its_slot(why: str) -> None:
    breaker = opened()
    probe = admitted(breaker, 30.0)
    refused(breaker, 30.5)
    assert breaker.record(probe, Outcome.NEUTRAL, 31.0) is None
    assert breaker.state == "HalfOpen"
    assert succeed(breaker, 31.0) is not None


def test_case_05_the_lease_of_a_probe_that_never_settles_expires() -> None:
    breaker = opened()
    admitted(breaker, 30.0)  # and lost
    lost_at = 30.0 + DEADLINE_S + LEASE_GRACE_S
    assert refused(breaker, math.nextafter(lost_at, 0)).changes == ()
    verdict = refused(breaker, lost_at + 1)
    assert verdict.changes == (
        StateChange("HalfOpen", "Open", "probe failed: it did not end", lost_at, 30.0 + OPEN_FOR_S),
    )
    assert verdict.retry_after_s == 30.0 + OPEN_FOR_S - (lost_at + 1)
    assert succeed(breaker, 30.0 + OPEN_FOR_S) is not None


def test_case_05_much_later_both_changes_are_reported_with_their_own_times() -> None:
    breaker = opened()
    admitted(breaker, 30.0)
    probe = admitted(breaker, 1000.0)
    assert [(change.after, change.at) for change in probe.changes] == [("Open", 36.0), ("HalfOpen", 1000.0)]


@pytest.mark.parametrize("others", [[], [40.0], [40.0, 60.0]], ids=["nobody came", "refused", "probe"])
def test_case_05_a_probe_that_succeeds_after_its_lease_closes_if_no_later_one_has_failed(
    others: list[float],
) -> None:
    breaker = opened()
    late = admitted(breaker, 30.0)
    for at in others:
        breaker.acquire(at, deadline=at + DEADLINE_S)
    change = breaker.record(late, Outcome.SUCCESS, 61.0)
    assert change is not None
    assert change.after == "Closed"


@pytest.mark.parametrize("outcome", [Outcome.FAILURE, Outcome.NEUTRAL])
def test_case_05_a_probe_that_fails_after_it_was_given_up_is_no_second_failure(outcome: Outcome) -> None:
    breaker = opened()
    late = admitted(breaker, 30.0)
    younger = admitted(breaker, 30.0 + OPEN_FOR_S)
    assert breaker.record(late, outcome, 61.0) is None
    refused(breaker, 62.0)  # and it has not freed the younger one's slot
    assert breaker.record(younger, Outcome.SUCCESS, 62.0) is not None


def test_case_05_a_probe_that_was_given_up_has_no_say_once_a_later_one_failed() -> None:
    breaker = opened()
    late = admitted(breaker, 30.0)
    breaker.record(admitted(breaker, 60.0), Outcome.FAILURE, 60.5)
    assert breaker.record(late, Outcome.SUCCESS, 61.0) is None
    assert breaker.open_until == 90.0


def test_case_05_a_timeout_reported_just_after_the_deadline_is_the_probes_own_failure() -> None:
    breaker = opened()
    change = breaker.record(
        admitted(breaker, 30.0), Outcome.FAILURE, 30.0 + DEADLINE_S + 0.02, cause="AttemptTimeout"
    )
    assert change is not None
    assert change.reason == "probe failed: AttemptTimeout"


def test_case_06_an_older_calls_neutral_end_does_not_free_the_probes_slot() -> None:
    breaker = CircuitBreaker(config())
    older = admitted(breaker, 0)
    fail(breaker, 0, times=3)
    lost = admitted(breaker, 30.0)  # a probe of an older half-open, too
    assert refused(breaker, 40.0).changes
    admitted(breaker, 80.0)
    breaker.record(older, Outcome.NEUTRAL, 81.0)
    breaker.record(lost, Outcome.NEUTRAL, 81.0)
    refused(breaker, 81.0)


def test_case_07_of_n_calls_at_expiry_one_is_admitted() -> None:
    breaker = opened()
    verdicts = [breaker.acquire(30.0, deadline=35.0) for _ in range(50)]
    assert [isinstance(verdict, Permit) for verdict in verdicts] == [True] + [False] * 49
    assert sum(len(verdict.changes) for verdict in verdicts) == 1


@pytest.mark.parametrize("module", [breaker_module, call_rates_module, open_time_module, window_module])
def test_case_08_no_clock_can_be_read(module: object) -> None:
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type] # modules are objects here
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"time", "datetime", "asyncio", "random"}


def test_case_09_an_open_circuit_refuses_the_attempt_after_a_back_off() -> None:
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


def test_case_13_a_429_neither_opens_a_circuit_nor_ends_a_row_of_failures() -> None:
    throttled = of_status(429, rules()).breaker
    breaker = CircuitBreaker(config())
    fail(breaker, 0, times=2)
    for _ in range(50):
        assert breaker.record(admitted(breaker, 0), throttled, 0, retry_after_s=100) is None
    change = fail(breaker, 0)
    assert change is not None
    assert change.open_until == OPEN_FOR_S


def test_case_13_a_429_to_a_probe_is_no_verdict() -> None:
    breaker = opened()
    probe = admitted(breaker, 30.0)
    assert breaker.record(probe, of_status(429, rules()).breaker, 31.0, retry_after_s=100) is None
    assert breaker.state == "HalfOpen"
    assert succeed(breaker, 31.0) is not None


def test_case_13_by_choice_a_429_is_a_failure_and_its_retry_after_a_floor() -> None:
    limits = config(throttle_counts_as_failure=True)
    throttled = of_status(429, rules(limits)).breaker
    breaker = CircuitBreaker(limits)
    for _ in range(3):
        breaker.record(admitted(breaker, 0), throttled, 0, retry_after_s=100)
    assert breaker.open_until == 100.0


def rules(breaker: snapshot.Breaker | None = None) -> snapshot.Rules:
    return snapshot.Rules(snapshot.Timeouts(1000, 1000, 1000), breaker)
