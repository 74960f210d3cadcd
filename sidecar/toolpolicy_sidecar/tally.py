"""Calls, errors and latencies of one tool: over the last five minutes, in five slots of a minute, and altogether."""

from array import array
from bisect import bisect_left

from toolpolicy_api.channel import LATENCY_BOUNDS_MS, Totals

SLOTS = 5
SLOT_S = 60.0
_BUCKETS = len(LATENCY_BOUNDS_MS) + 1
_WIDTH = 2 + _BUCKETS


class Tally:
    """About 400 bytes. Time is monotonic seconds."""

    __slots__ = ("_counts", "_newest")

    def __init__(self) -> None:
        self._counts = array("I", (0,)) * (SLOTS * _WIDTH)
        self._newest = 0

    def add(self, now: float, *, error: bool, latency_ms: float | None) -> None:
        """`latency_ms` None: the tool was not called, so it says nothing about how fast the tool is."""
        self._advance(now)
        base = (self._newest % SLOTS) * _WIDTH
        self._counts[base] += 1
        self._counts[base + 1] += error
        if latency_ms is not None:
            self._counts[base + 2 + bisect_left(LATENCY_BOUNDS_MS, latency_ms)] += 1

    def sums(self, now: float) -> tuple[int, int, tuple[int, ...]]:
        """Calls, errors, and one count per latency bucket."""
        self._advance(now)
        total = [sum(self._counts[column::_WIDTH]) for column in range(_WIDTH)]
        return total[0], total[1], tuple(total[2:])

    def _advance(self, now: float) -> None:
        index = int(now // SLOT_S)
        for slot in range(self._newest + 1, min(index, self._newest + SLOTS) + 1):
            base = (slot % SLOTS) * _WIDTH
            self._counts[base : base + _WIDTH] = array("I", (0,)) * _WIDTH
        self._newest = max(self._newest, index)


class Total:
    """Never goes back: who hears of it now and then misses nothing."""

    __slots__ = ("_counts", "_since_ms")

    def __init__(self, since_ms: int) -> None:
        """`since_ms`: Unix time of now. It tells this one from others of the same tool."""
        self._since_ms = since_ms
        self._counts = array("Q", (0,)) * _WIDTH

    def add(self, *, error: bool, latency_ms: float | None) -> None:
        """As `Tally.add`."""
        self._counts[0] += 1
        self._counts[1] += error
        if latency_ms is not None:
            self._counts[2 + bisect_left(LATENCY_BOUNDS_MS, latency_ms)] += 1

    def said(self) -> Totals:
        calls, errors, *latency = self._counts
        return Totals(self._since_ms, calls, errors, tuple(latency) if calls else ())
