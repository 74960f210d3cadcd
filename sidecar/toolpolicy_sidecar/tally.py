"""Calls, errors and latencies of one tool: altogether, and over the last five minutes, in five slots of a minute."""

from array import array
from bisect import bisect_left

from toolpolicy_api.channel import LATENCY_BOUNDS_MS, Totals

SLOTS = 5
SLOT_S = 60.0
_LOWER_BITS = 2**32 - 1
_WIDTH = 2 + len(LATENCY_BOUNDS_MS) + 1


class Tally:
    """A call adds to what never goes back; the last minutes are what was added since they began. Time is monotonic
    seconds. It takes less than 1 KB, however many the calls are."""

    __slots__ = ("_before", "_counts", "_newest", "_off", "_since_ms", "_until")

    def __init__(self, since_ms: int) -> None:
        """`since_ms`: Unix time of now. It tells these totals from others of the same tool."""
        self._since_ms = since_ms
        self._counts = array("Q", [0]) * _WIDTH
        """Calls, errors, and one for each latency bucket."""
        self._off = 0
        self._before = array("I", self._counts) * SLOTS
        """What there was when each slot began, without what is above 32 bits: no slot has so many."""
        self._newest, self._until = 0, SLOT_S

    def add(self, now: float, *, error: bool, latency_ms: float | None, off: bool = False) -> None:
        """`latency_ms` None: the tool was not called, so it says nothing about how fast the tool is. `off`: it was
        refused because somebody wanted that, which is none of the totals' calls."""
        if now >= self._until:
            self._advance(now)
        counts = self._counts
        counts[0] += 1
        if error:
            counts[1] += 1
        if off:
            self._off += 1
        if latency_ms is not None:
            counts[2 + bisect_left(LATENCY_BOUNDS_MS, latency_ms)] += 1

    def sums(self, now: float) -> tuple[int, int, tuple[int, ...]]:
        """Of the last minutes: calls, errors, and one count per latency bucket."""
        self._advance(now)
        at = (self._newest + 1) % SLOTS * _WIDTH
        before = self._before[at : at + _WIDTH]
        calls, errors, *latency = (
            (count - old) & _LOWER_BITS for count, old in zip(self._counts, before, strict=True)
        )
        return calls, errors, tuple(latency)

    def totals(self) -> Totals:
        """Never go back: who hears of them now and then misses nothing."""
        calls, errors, *latency = self._counts
        calls -= self._off
        return Totals(self._since_ms, calls, errors - self._off, tuple(latency) if calls else ())

    def _advance(self, now: float) -> None:
        index = int(now // SLOT_S)
        if index <= self._newest:
            return
        so_far = array("I", [count & _LOWER_BITS for count in self._counts])
        for slot in range(self._newest + 1, min(index, self._newest + SLOTS) + 1):
            at = slot % SLOTS * _WIDTH
            self._before[at : at + _WIDTH] = so_far
        self._newest, self._until = index, (index + 1) * SLOT_S
