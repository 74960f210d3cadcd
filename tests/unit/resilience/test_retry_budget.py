"""The retry budget: a share of the calls of the last ten seconds, and a floor."""

from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_sidecar.resilience.budget import FLOOR, PERCENT, WINDOW_S, RetryBudget


def taken(budget: RetryBudget, now: float) -> int:
    """All that it gives now."""
    count = 0
    while budget.withdraw(now):
        count += 1
    return count


def test_the_floor_without_any_call() -> None:
    budget = RetryBudget()
    assert taken(budget, 1000.0) == FLOOR
    assert taken(budget, 1008.9) == 0
    assert taken(budget, 1010.0) == FLOOR


def test_a_fifth_of_the_calls() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.deposit(1000.5)
    assert taken(budget, 1000.5) == 20
    assert taken(budget, 1009.9) == 0
    assert taken(budget, 1010.0) == FLOOR  # calls and retries are forgotten together


def test_a_clock_that_stands_or_goes_back_a_little_loses_nothing() -> None:
    budget = RetryBudget()
    for now in (1000.0, 1001.0, 1000.9):
        budget.deposit(now)
    assert sum(budget._calls) == 3


events = st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=300)


@given(events)
def test_what_it_gives_stays_within_its_share(events: list[tuple[float, bool]]) -> None:
    """Against a list of every moment: looking back over a whole window, never more than was earned in the
    longest time that it could remember, and never less than in the shortest."""
    budget, calls, retries = RetryBudget(), list[float](), list[float]()
    now = 5000.0
    for passed, retry in events:
        now += passed
        if not retry:
            budget.deposit(now)
            calls.append(now)
            continue
        surely = WINDOW_S - 1  # the oldest second is forgotten at its end, so a slot may be a second short
        most = max(FLOOR, sum(at > now - WINDOW_S for at in calls) * PERCENT // 100)
        least = max(FLOOR, sum(at >= now - surely for at in calls) * PERCENT // 100)
        given = budget.withdraw(now)
        if given:
            assert sum(at >= now - surely for at in retries) < most
            retries.append(now)
        else:
            assert sum(at > now - WINDOW_S for at in retries) >= least
