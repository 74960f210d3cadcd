"""Totals that pods tell → counts over days → what is left of the error budget."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_api.channel import Totals
from toolpolicy_api.slo import DAY_S, Slo
from toolpolicy_operator.slo.budget import budget, tool_slo
from toolpolicy_operator.slo.ledger import HOUR_S, MOST, SLOT_S, Counts, Ledger

NOW = 1_790_000_000
WINDOW_S = 30 * DAY_S


def said(calls: int, errors: int = 0, since_ms: int = 1, latency: tuple[int, ...] = ()) -> Totals:
    return Totals(since_ms, calls, errors, latency)


def test_the_first_word_of_a_pod_is_where_its_counts_begin() -> None:
    ledger = Ledger(NOW)
    ledger.hear("a", said(1000, 10), NOW)
    assert ledger.all() == Counts()
    ledger.hear("a", said(1003, 11), NOW)
    ledger.hear("b", said(0), NOW)
    ledger.hear("b", said(4), NOW)
    assert ledger.all() == Counts(7, 1)


@pytest.mark.parametrize("after", [said(5, 1, since_ms=2), said(500, 1, since_ms=2), said(5, 1)])
def test_a_restarted_sidecar_counts_from_nothing(after: Totals) -> None:
    ledger = Ledger(NOW)
    ledger.hear("a", said(0), NOW)
    ledger.hear("a", said(100), NOW)
    ledger.hear("a", after, NOW)
    assert ledger.all() == Counts(100 + after.calls, 1)


def test_another_latency_objective_begins_with_the_next_word() -> None:
    ledger = Ledger(NOW)
    ledger.measure(10)
    ledger.hear("a", said(0), NOW)
    ledger.hear("a", said(10, latency=(1, 2, 3, 4)), NOW)
    assert ledger.all() == Counts(10, 0, 10, 7)  # the first two buckets end at 5 and 10 ms
    ledger.measure(5)
    ledger.hear("a", said(20, latency=(2, 4, 6, 8)), NOW)
    ledger.hear("a", said(21, latency=(2, 5, 6, 8)), NOW)
    assert ledger.all() == Counts(11, 0, 11, 8)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    ledger = Ledger(NOW, slots={NOW // SLOT_S * SLOT_S: Counts(10, 1)})
    ledger.roll(NOW + 2 * HOUR_S, WINDOW_S)
    assert (ledger.all(), ledger.last_hour(NOW + 2 * HOUR_S)) == (Counts(10, 1), Counts())
    ledger.roll(NOW + WINDOW_S - 1, WINDOW_S)
    assert ledger.all() == Counts(10, 1)
    ledger.roll(NOW + WINDOW_S + DAY_S, WINDOW_S)
    assert ledger.all() == Counts()
    assert ledger.since == NOW + DAY_S


@pytest.mark.parametrize("since", [-1e300, 1e300])
def test_a_ledger_that_someone_has_edited_can_still_be_shown(since: float) -> None:
    ledger = Ledger(since, slots={2**60: Counts(1), -(2**60): Counts(1)})
    ledger.roll(NOW, WINDOW_S)
    assert (ledger.all(), NOW - WINDOW_S <= ledger.since <= NOW) == (Counts(), True)


@given(
    calls=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 50)), max_size=200),
    days=st.integers(1, 90),
)
def test_rolling_loses_nothing_within_the_window_and_keeps_it_small(
    calls: list[tuple[int, int]], days: int
) -> None:
    ledger, now, total, told = Ledger(NOW), float(NOW), 0, []
    ledger.hear("a", said(0), now)
    for pause_s, more in calls:
        now += pause_s
        total += more
        told.append((now, more))
        ledger.hear("a", said(total), now)
        ledger.roll(now, days * DAY_S)
    within = sum(more for at, more in told if at > now - days * DAY_S)
    a_slot_more = sum(more for at, more in told if at > now - days * DAY_S * 32 / 30 - SLOT_S * 3)
    assert within <= ledger.all().calls <= a_slot_more
    assert len(ledger.slots) <= 12 + 60 + 3
    hour = sum(more for at, more in told if at > now - HOUR_S)
    assert sum(more for at, more in told if at > now - HOUR_S + SLOT_S) <= ledger.last_hour(now).calls <= hour


@given(
    words=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=60),
    crash_after=st.integers(0, 60),
    saved_before=st.integers(0, 60),
)
def test_a_crash_counts_nothing_twice_and_misses_nothing(
    words: list[tuple[str, int, bool]], crash_after: int, saved_before: int
) -> None:
    """The next leader goes on from whatever was saved last; pods go on counting."""
    ledger, totals = Ledger(NOW), dict.fromkeys("abc", 0)
    for pod in totals:
        ledger.hear(pod, said(0), NOW)
    saved = msgspec.json.encode(ledger)
    for step, (pod, more, heard) in enumerate(words):
        totals[pod] += more
        if step == crash_after:
            ledger = msgspec.json.decode(saved, type=Ledger)
        if heard:
            ledger.hear(pod, said(totals[pod]), NOW)
        if step == saved_before:
            saved = msgspec.json.encode(ledger)
    for pod, total in totals.items():
        ledger.hear(pod, said(total), NOW)
    assert ledger.all().calls == sum(totals.values())


@given(st.lists(st.builds(Totals, since_ms=st.integers(0, 3), calls=st.integers(0, 2**40)), max_size=20))
def test_whatever_a_sidecar_says_the_counts_can_be_written(words: list[Totals]) -> None:
    ledger = Ledger(NOW, slots={NOW // SLOT_S * SLOT_S: Counts(MOST - 5)})
    for word in words:
        ledger.hear("a", word, NOW)
    assert 0 <= ledger.all().calls <= MOST
    assert msgspec.json.decode(msgspec.json.encode(ledger), type=Ledger) == ledger


@pytest.mark.parametrize(
    ("calls", "bad", "left", "rate"),
    [
        (1000, 0, "100", "0"),
        (1000, 4, "20", "0.8"),
        (1000, 5, "0", "1"),
        (1000, 72, "-1340", "14.4"),
        (0, 0, "100", None),
    ],
)
def test_what_is_left(calls: int, bad: int, left: str, rate: str | None) -> None:
    found = budget(calls, bad, 0.005, calls, bad)
    assert (found.remaining_percent, found.burn_rate) == (left, rate)


def test_an_objective_that_is_not_set_has_no_budget() -> None:
    found = tool_slo(Slo(None, 5000, WINDOW_S), Ledger(NOW), NOW)
    assert found.availability is None
    assert found.latency
    assert found.latency.remaining_percent == "100"
    assert found.since == "2026-09-21T14:13:20Z"
