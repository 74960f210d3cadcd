"""How long a circuit is open: when it opens again and again (`maxOpenFor`), and when its tool asks (Retry-After)."""

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar.resilience.breaker import CircuitBreaker, Outcome, Permit
from toolpolicy_sidecar.resilience.open_time import open_for_s

LIMITS = snapshot.Breaker(
    open_for_ms=30_000, half_open_calls=1, consecutive_failures=1, max_open_for_ms=300_000
)
FLAT = snapshot.Breaker(open_for_ms=30_000, half_open_calls=1, consecutive_failures=1)
"""Without maxOpenFor."""


def settle(
    circuit: CircuitBreaker, outcome: Outcome, now: float, retry_after_s: float | None = None
) -> float | None:
    """Until when it is open then."""
    permit = circuit.acquire(now, deadline=now + 5)
    assert isinstance(permit, Permit), permit
    circuit.record(permit, outcome, now, retry_after_s=retry_after_s)
    return circuit.open_until


def opened_thrice() -> CircuitBreaker:
    """At 0, 30 and 90: open until 210."""
    circuit = CircuitBreaker(LIMITS)
    assert [settle(circuit, Outcome.FAILURE, at) for at in (0, 30, 90)] == [30, 90, 210]
    return circuit


@pytest.mark.parametrize(
    ("openings", "wanted_s"), [(1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (6, 300), (10**9, 300)]
)
def test_doubles_up_to_the_longest(openings: int, wanted_s: float) -> None:
    assert open_for_s(LIMITS, openings) == wanted_s


@pytest.mark.parametrize("openings", [1, 2, 10**9])
def test_does_not_grow_unless_asked_to(openings: int) -> None:
    assert open_for_s(FLAT, openings) == 30


def test_a_tool_that_stays_down_is_tried_less_and_less_often() -> None:
    circuit, now, tried = CircuitBreaker(LIMITS), 0.0, []
    for _ in range(7):
        tried.append(now)
        until = settle(circuit, Outcome.FAILURE, now)
        assert until is not None
        now = until
    assert tried == [0, 30, 90, 210, 450, 750, 1050]


def test_a_lost_probe_is_an_opening_too() -> None:
    circuit = CircuitBreaker(LIMITS)
    settle(circuit, Outcome.FAILURE, 0)
    circuit.acquire(30, deadline=35)  # and lost: given up at 36
    assert circuit.state_at(36).open_until == 90
    assert not isinstance(circuit.acquire(89, deadline=99), Permit)
    assert circuit.open_until == 90


def test_a_tool_that_hangs_is_tried_as_seldom_as_one_that_refuses() -> None:
    """Every probe of it has no end for far longer than the circuit is open."""
    circuit = CircuitBreaker(LIMITS)
    settle(circuit, Outcome.FAILURE, 0)
    tried = [now for now in range(1100) if isinstance(circuit.acquire(now, deadline=now + 10_000), Permit)]
    assert tried == [30, 90, 210, 450, 750, 1050]


def test_the_open_time_counts_from_when_the_probe_was_sent() -> None:
    circuit = opened_thrice()
    probe = circuit.acquire(210, deadline=500)
    assert isinstance(probe, Permit)
    circuit.record(probe, Outcome.FAILURE, 440)
    assert circuit.open_until == 210 + 240


def test_a_wish_of_a_probe_that_was_given_up_counts_for_the_next_opening() -> None:
    circuit = opened_thrice()
    late = circuit.acquire(210, deadline=1000)
    assert isinstance(late, Permit)
    circuit.acquire(450, deadline=1000)
    assert circuit.record(late, Outcome.FAILURE, 740, retry_after_s=100) is None
    assert circuit.state_at(750).open_until == 840
    assert not isinstance(circuit.acquire(839, deadline=1000), Permit)
    assert isinstance(circuit.acquire(840, deadline=1000), Permit)


def test_closed_for_as_long_as_it_was_open_begins_anew() -> None:
    circuit = opened_thrice()
    assert settle(circuit, Outcome.SUCCESS, 210) is None
    assert settle(circuit, Outcome.FAILURE, 210 + 120) == 210 + 120 + 30


def test_closed_for_less_goes_on_where_it_was() -> None:
    circuit = opened_thrice()
    assert settle(circuit, Outcome.SUCCESS, 210) is None
    assert settle(circuit, Outcome.FAILURE, 210 + 119) == 210 + 119 + 240


def test_the_first_opening_is_the_first_however_soon() -> None:
    circuit = CircuitBreaker(LIMITS)
    circuit.reset(0)
    assert settle(circuit, Outcome.FAILURE, 0) == 30


def test_a_reset_begins_anew() -> None:
    circuit = opened_thrice()
    circuit.reset(100)
    assert settle(circuit, Outcome.FAILURE, 100) == 130


@pytest.mark.parametrize("mode", ["ForcedOpen", "ForcedClosed"])
def test_a_switch_by_hand_begins_anew(mode: str) -> None:
    circuit = opened_thrice()
    circuit.reconfigure(snapshot.Breaker(30_000, 1, mode, consecutive_failures=1), 100)  # type: ignore[arg-type] # of the parameters above
    circuit.reconfigure(LIMITS, 101)
    assert settle(circuit, Outcome.FAILURE, 102) == 132


def test_a_reload_keeps_the_deadline_and_how_often_it_opened() -> None:
    circuit = opened_thrice()
    circuit.reconfigure(snapshot.Breaker(1_000, 1, consecutive_failures=1, max_open_for_ms=60_000), 100)
    assert circuit.open_until == 210
    assert settle(circuit, Outcome.FAILURE, 210) == 218


@pytest.mark.parametrize(
    ("retry_after_s", "until"), [(None, 30), (-5, 30), (0, 30), (29, 30), (31, 31), (299, 299), (1e9, 300)]
)
def test_a_retry_after_is_a_floor_and_is_capped(retry_after_s: float | None, until: float) -> None:
    assert settle(CircuitBreaker(FLAT), Outcome.FAILURE, 0, retry_after_s) == until


def test_the_longest_open_time_of_the_policy_caps_it() -> None:
    limits = snapshot.Breaker(30_000, 1, consecutive_failures=1, max_open_for_ms=45_000)
    assert settle(CircuitBreaker(limits), Outcome.FAILURE, 0, 120) == 45


def test_a_failed_probe_may_ask_too() -> None:
    circuit = CircuitBreaker(FLAT)
    settle(circuit, Outcome.FAILURE, 0)
    assert settle(circuit, Outcome.FAILURE, 30, 100) == 130
    assert settle(circuit, Outcome.FAILURE, 130) == 160  # said once, it holds once


def test_it_does_not_make_the_next_opening_longer() -> None:
    circuit = CircuitBreaker(LIMITS)
    settle(circuit, Outcome.FAILURE, 0, 200)
    assert settle(circuit, Outcome.FAILURE, 200) == 260


def three() -> CircuitBreaker:
    return CircuitBreaker(snapshot.Breaker(30_000, 1, consecutive_failures=3))


def test_what_it_asked_for_before_it_opened_holds_when_it_opens() -> None:
    circuit = three()
    settle(circuit, Outcome.FAILURE, 0, 100)
    settle(circuit, Outcome.FAILURE, 10)
    assert settle(circuit, Outcome.FAILURE, 20) == 100


def test_the_newest_wish_holds() -> None:
    circuit = three()
    settle(circuit, Outcome.FAILURE, 0, 100)
    settle(circuit, Outcome.FAILURE, 10, 50)
    assert settle(circuit, Outcome.FAILURE, 20) == 60


def test_a_success_since_then_has_overtaken_it() -> None:
    circuit = three()
    settle(circuit, Outcome.FAILURE, 0, 100)
    settle(circuit, Outcome.SUCCESS, 1)
    for _ in range(2):
        settle(circuit, Outcome.FAILURE, 2)
    assert settle(circuit, Outcome.FAILURE, 2) == 32


def test_a_reset_forgets_it() -> None:
    circuit = three()
    settle(circuit, Outcome.FAILURE, 0, 100)
    circuit.reset(1)
    for _ in range(2):
        settle(circuit, Outcome.FAILURE, 2)
    assert settle(circuit, Outcome.FAILURE, 2) == 32


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.NEUTRAL])
def test_only_a_failure_can_ask(outcome: Outcome) -> None:
    circuit = CircuitBreaker(FLAT)
    settle(circuit, outcome, 0, 100)
    assert settle(circuit, Outcome.FAILURE, 0) == 30


def test_who_is_late_cannot_ask() -> None:
    circuit = CircuitBreaker(FLAT)
    late = circuit.acquire(0, deadline=5)
    assert isinstance(late, Permit)
    settle(circuit, Outcome.FAILURE, 0)
    circuit.record(late, Outcome.FAILURE, 1, retry_after_s=100)
    assert circuit.open_until == 30
    assert settle(circuit, Outcome.FAILURE, 30) == 60
