"""How often status is written, over all policies."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_operator.pace import (
    BURST,
    KEPT_FOR_URGENT,
    LONGEST_RETRY_S,
    WRITES_PER_S,
    Bucket,
    retry_s,
    urgent,
)


def test_what_can_wait_leaves_half_to_what_cannot() -> None:
    bucket = Bucket(0.0)
    taken = sum(bucket.take(0.0, urgent=False) == 0 for _ in range(100))
    assert taken == BURST - KEPT_FOR_URGENT
    urgent = sum(bucket.take(0.0, urgent=True) == 0 for _ in range(100))
    assert urgent == KEPT_FOR_URGENT


def test_it_says_when_to_ask_again() -> None:
    bucket = Bucket(0.0)
    while bucket.take(0.0, urgent=True) == 0:
        pass
    pause_s = bucket.take(0.0, urgent=True)
    assert bucket.take(pause_s + 1e-9, urgent=True) == 0


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=200))
def test_never_more_than_the_rate_and_one_burst(asked: list[tuple[float, bool]]) -> None:
    bucket, now, written = Bucket(0.0), 0.0, 0
    for pause_s, hurried in asked:
        now += pause_s
        written += bucket.take(now, urgent=hurried) == 0
    assert written <= BURST + now * WRITES_PER_S + 1e-6


def test_retries_wait_longer_up_to_a_bound() -> None:
    waits = [retry_s(failures) for failures in range(1, 30)]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_RETRY_S


def broken_in(*pods: str, errors: int = 1) -> dict[str, Any]:
    worst = [{"pod": pod, "state": "Open", "errors": errors} for pod in pods]
    return {"tools": [{"name": "t", "state": "Mixed", "pods": {"open": len(pods)}, "worstPods": worst}]}


def test_another_pod_is_news_though_their_number_is_the_same() -> None:
    assert urgent(broken_in("a"), broken_in("b"))


def test_more_errors_in_the_same_pods_can_wait() -> None:
    assert not urgent(broken_in("a", "b"), broken_in("b", "a", errors=7))
