"""The counts of one tool over its window, out of the totals that pods tell now and then. Pure: times are arguments.

Unix seconds, since counts outlive processes. The last hour is kept in slots of five minutes; what is older, in some
sixty slots that span the window. What a pod said last is kept beside the counts: whoever goes on with both, from
whatever moment, counts nothing twice and misses nothing that the pod still tells.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Annotated

import msgspec

from toolpolicy_api.channel import LATENCY_BOUNDS_MS, Totals

SLOT_S = 300
HOUR_S = 3600
COARSE_SLOTS = 60
MOST = 2**53
"""Whatever sidecars say, a sum is an integer for every reader of JSON."""

N = Annotated[int, msgspec.Meta(ge=0, le=MOST)]


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """`timed`: calls whose duration is known; `slow`: those of them that were longer than the objective."""

    calls: N = 0
    errors: N = 0
    timed: N = 0
    slow: N = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(
            min(MOST, self.calls + other.calls),
            min(MOST, self.errors + other.errors),
            min(MOST, self.timed + other.timed),
            min(MOST, self.slow + other.slow),
        )

    def since(self, before: "Counts") -> "Counts | None":
        """What came after `before`. None: these do not follow it."""
        pairs = (
            (self.calls, before.calls),
            (self.errors, before.errors),
            (self.timed, before.timed),
            (self.slow, before.slow),
        )
        if any(now < then for now, then in pairs):
            return None
        return Counts(*(now - then for now, then in pairs))


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """What a pod said last, of a circuit that began at `since_ms`."""

    since_ms: int
    counts: Counts


class Ledger(msgspec.Struct):
    """`since`: how far back it knows. `slots` by their start, `heard` by the pod's uid."""

    since: float
    p95_ms: int | None = None
    slots: dict[int, Counts] = {}
    heard: dict[str, Heard] = {}

    def measure(self, p95_ms: int | None) -> None:
        """By another bound, what pods said before is no beginning: the next word of each is."""
        if p95_ms != self.p95_ms:
            self.p95_ms = p95_ms
            self.heard.clear()

    def hear(self, pod: str, totals: Totals, now: float) -> None:
        """The first word of a pod is where its counts begin. After a restart of its sidecar they begin at nothing."""
        counts = _counts(totals, self.p95_ms)
        before = self.heard.get(pod)
        self.heard[pod] = Heard(totals.since_ms, counts)
        if before is None:
            return
        new = counts.since(before.counts) if before.since_ms == totals.since_ms else None
        new = counts if new is None else new
        if new.calls or new.timed:
            start = int(now) // SLOT_S * SLOT_S
            self.slots[start] = self.slots.get(start, Counts()).plus(new)

    def forget(self, gone: Iterable[str]) -> None:
        for pod in gone:
            self.heard.pop(pod, None)

    def roll(self, now: float, window_s: int) -> None:
        """Makes coarse what is older than an hour, and drops what is older than the window, or yet to come: a clock was
        wrong, or someone has edited what was saved."""
        coarse_s = -(-window_s // COARSE_SLOTS // SLOT_S) * SLOT_S
        fine_from = _hour(now)
        oldest = now - window_s - coarse_s
        moved = [
            start
            for start in self.slots
            if not oldest < start <= now or (start < fine_from and start % coarse_s)
        ]
        for start in moved:
            counts, place = self.slots.pop(start), start // coarse_s * coarse_s
            if oldest < place <= start <= now:
                self.slots[place] = self.slots.get(place, Counts()).plus(counts)
        self.since = min(now, max(self.since, now - window_s))

    def all(self) -> Counts:
        return _sum(self.slots.values())

    def last_hour(self, now: float) -> Counts:
        """55 to 60 minutes."""
        return _sum(counts for start, counts in self.slots.items() if start >= _hour(now))


def _hour(now: float) -> int:
    return int(now) // SLOT_S * SLOT_S - HOUR_S + SLOT_S


def _sum(found: Iterable[Counts]) -> Counts:
    each = [(counts.calls, counts.errors, counts.timed, counts.slow) for counts in found]
    return Counts(*(min(MOST, sum(column)) for column in zip(*each, strict=True)))


def _counts(totals: Totals, p95_ms: int | None) -> Counts:
    if p95_ms is None:
        return Counts(totals.calls, totals.errors)
    within = bisect_left(LATENCY_BOUNDS_MS, p95_ms) + 1
    buckets = totals.latency[: len(LATENCY_BOUNDS_MS) + 1]
    return Counts(totals.calls, totals.errors, sum(buckets), sum(buckets[within:]))
