"""When a second attempt is worth it, and what it brings, in virtual time."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measured import measured
from toolpolicy_sidecar.resilience.hedge import MINIMUM_CALLS, Hedge, allowed
from toolpolicy_sidecar.resilience.latency import GROWTH, LOWEST_S, REMEMBERED, Latencies


@dataclass
class Purse:
    """A budget of so many."""

    left: int

    def withdraw(self, now: float) -> bool:  # noqa: ARG002 -- the protocol's
        self.left -= 1
        return self.left >= 0


def learned(latency_s: float = 1.0, calls: int = MINIMUM_CALLS) -> Hedge:
    hedge = Hedge()
    for _ in range(calls):
        hedge.observe(latency_s)
    return hedge


@settings(max_examples=50)
@given(st.lists(st.floats(LOWEST_S, 200.0), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_at_most_a_bucket_too_high(latencies_s: list[float], share: float) -> None:
    sketch = Latencies()
    for latency_s in latencies_s:
        sketch.add(latency_s)
    exact = next(
        value
        for rank, value in enumerate(sorted(latencies_s), 1)
        if rank >= share * len(latencies_s)  # the same rank as the sketch's
    )
    found = sketch.quantile_s(share)
    assert found is not None
    assert exact / 1.000001 <= found <= exact * GROWTH * 1.000001


def test_a_sketch_forgets_and_stays_small() -> None:
    sketch = Latencies()
    assert sketch.quantile_s(0.95) is None
    for _ in range(REMEMBERED * 3):
        sketch.add(10.0)
    for _ in range(REMEMBERED * 3):
        sketch.add(0.01)
    assert len(sketch) < REMEMBERED
    assert sketch.quantile_s(0.95) == pytest.approx(0.01, rel=GROWTH - 1)
    for latency_s in (0.0, 1e9):
        sketch.add(latency_s)


def test_due_after_the_tools_own_95th_percentile() -> None:
    at = learned(1.0).due(100.0, 130.0, repeatable=True)
    assert at is not None
    assert 101.0 <= at <= 100.0 + GROWTH


@pytest.mark.parametrize(
    ("hedge", "deadline", "repeatable"),
    [
        (learned(), 130.0, False),
        (learned(calls=MINIMUM_CALLS - 1), 130.0, True),
        (learned(), 101.5, True),  # it would have to be answered within half of the usual time
        (Hedge(), 130.0, True),
    ],
)
def test_not_due(hedge: Hedge, deadline: float, repeatable: bool) -> None:
    assert hedge.due(100.0, deadline, repeatable=repeatable) is None


def test_takes_from_the_budget_only_what_it_uses() -> None:
    purse = Purse(1)
    assert not allowed(purse, 0.0, answer_began=True, circuit_closed=True)
    assert not allowed(purse, 0.0, answer_began=False, circuit_closed=False)
    assert purse.left == 1
    assert allowed(purse, 0.0, answer_began=False, circuit_closed=True)
    assert not allowed(purse, 0.0, answer_began=False, circuit_closed=True)


def test_cuts_the_tail_at_the_price_of_few_calls() -> None:
    """One call in forty hangs for thirty times as long as the others."""
    rng = random.Random(3)  # noqa: S311 -- no secrets

    def attempt_s() -> float:
        return rng.uniform(0.08, 0.12) * (30 if rng.random() < 0.025 else 1)

    calls, hedge, hedges, took_s = 8_000, Hedge(), 0, []
    for _ in range(calls):
        first_s = attempt_s()
        at = hedge.due(0.0, 30.0, repeatable=True)
        if at is None or first_s <= at:
            hedge.observe(first_s)
            took_s.append(first_s)
            continue
        hedges += 1
        second_s = attempt_s()
        done_s = min(first_s, at + second_s)
        hedge.observe(done_s)
        took_s.append(done_s)
    p99_s = sorted(took_s)[calls * 99 // 100]
    measured(f"hedging: p99 {p99_s * 1000:.0f} ms instead of 3000 ms, {hedges / calls:.1%} more calls")
    assert p99_s < 0.4
    assert hedges / calls < 0.06


def test_losers_keep_the_percentile_where_it_is() -> None:
    """All calls alike: hedges go to one call in twenty for good, not to ever more of them."""
    rng = random.Random(4)  # noqa: S311 -- no secrets
    calls, hedge, hedges = 8_000, Hedge(), 0
    for number in range(calls):
        first_s, second_s = rng.expovariate(1.0), rng.expovariate(1.0)
        at = hedge.due(0.0, 30.0, repeatable=True)
        if at is None or first_s <= at:
            hedge.observe(first_s)
            continue
        hedges += number >= calls // 2
        hedge.observe(min(first_s, at + second_s))
    assert 0.02 < hedges / (calls // 2) < 0.06
