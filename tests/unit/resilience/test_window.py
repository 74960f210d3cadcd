"""The windows against the numbers in resilience4j's FixedSizeSlidingWindowMetricsTest and
SlidingTimeWindowMetricsTest, and against a list that keeps everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_sidecar.resilience.window import BUCKETS, CountWindow, TimeWindow

Sums = tuple[int, int, int]
"""Calls, failures, slow calls."""


def sums(window: CountWindow | TimeWindow) -> Sums:
    return window.calls, window.failures, window.slow


@pytest.mark.parametrize(
    ("size", "calls", "wanted"),
    [
        (5, "", [(0, 0, 0)]),
        (5, "S", [(1, 0, 0)]),
        (5, "F", [(1, 1, 0)]),
        (5, "s", [(1, 0, 1)]),
        (5, "sfSSS", [(1, 0, 1), (2, 1, 2), (3, 1, 2), (4, 1, 2), (5, 1, 2)]),
        (4, "FSSSS", [(1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 1, 0), (4, 0, 0)]),
        (2, "fsSSS", [(1, 1, 1), (2, 1, 2), (2, 0, 1), (2, 0, 0), (2, 0, 0)]),
    ],
)
def test_calls_as_in_resilience4j(size: int, calls: str, wanted: list[Sums]) -> None:
    window, seen = CountWindow(size), list[Sums]()
    for call in calls:
        window.add(0.0, failed=call in "Ff", slow=call in "sf")
        seen.append(sums(window))
    assert (seen or [sums(window)]) == wanted


TIMES = [
    # (seconds, call, sums after it); buckets of theirs are a second wide, ours a quarter of one
    ("a window that moves on", 0.0, "F", (1, 1, 0)),
    ("a window that moves on", 0.1, "S", (2, 1, 0)),
    ("a window that moves on", 0.2, "S", (3, 1, 0)),
    ("a window that moves on", 1.2, "S", (4, 1, 0)),
    ("a window that moves on", 2.2, "S", (5, 1, 0)),
    ("a window that moves on", 3.2, "F", (6, 2, 0)),
    ("a window that moves on", 4.2, "S", (7, 2, 0)),
    ("a window that moves on", 5.2, "S", (5, 1, 0)),
    ("a window that moves on", 6.2, "S", (5, 1, 0)),
    ("a window that moves on", 11.2, "S", (1, 0, 0)),
    ("a window that runs empty", 0.0, "F", (1, 1, 0)),
    ("a window that runs empty", 0.1, "S", (2, 1, 0)),
    ("a window that runs empty", 0.8, "S", (3, 1, 0)),
    ("a window that runs empty", 4.8, "", (3, 1, 0)),
    ("a window that runs empty", 5.8, "", (0, 0, 0)),
    ("a window that runs empty", 5.9, "S", (1, 0, 0)),
    ("slow calls", 0.0, "s", (1, 0, 1)),
    ("slow calls", 0.0, "f", (2, 1, 2)),
    ("slow calls", 0.0, "S", (3, 1, 2)),
]


@pytest.mark.parametrize("name", dict.fromkeys(row[0] for row in TIMES))
def test_times_as_in_resilience4j(name: str) -> None:
    window = TimeWindow(5.0)
    for _, at, call, wanted in (row for row in TIMES if row[0] == name):
        window.advance(at)
        if call:
            window.add(at, failed=call in "Ff", slow=call in "sf")
        assert sums(window) == wanted, at


CALLS = st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.booleans()), max_size=60)
"""Quarters of a second since the call before, did it fail, was it slow."""


@given(CALLS, st.integers(1, 12), st.integers(1, 12))
def test_calls_as_a_list_counts_them(calls: list[tuple[int, bool, bool]], size: int, other: int) -> None:
    window = CountWindow(size)
    for _, failed, slow in calls:
        window.add(0.0, failed=failed, slow=slow)
    kept = calls[-size:]
    assert sums(window) == (len(kept), sum(c[1] for c in kept), sum(c[2] for c in kept))
    window.resize(other)
    kept = kept[-other:]
    assert sums(window) == (len(kept), sum(c[1] for c in kept), sum(c[2] for c in kept))


@given(CALLS)
def test_times_as_a_list_counts_them(calls: list[tuple[int, bool, bool]]) -> None:
    window, now, kept = TimeWindow(BUCKETS / 4), 1000.0, list[tuple[float, bool, bool]]()
    for quarters, failed, slow in calls:
        now += quarters / 4
        kept.append((now, failed, slow))
        window.add(now, failed=failed, slow=slow)
        kept = [each for each in kept if now - each[0] < BUCKETS / 4]
        assert sums(window) == (len(kept), sum(c[1] for c in kept), sum(c[2] for c in kept))
