"""How long the calls of one tool take: quantiles of the recent ones, in bounded memory."""

import math
from array import array

LOWEST_S = 0.001
GROWTH = 1.2
"""Each bucket ends this much above the one before: a quantile is at most 20 % too high."""
BUCKETS = 70
"""Up to 5 minutes; what takes longer is in the last one."""
REMEMBERED = 1000
"""Then every count is halved, so that a change in the tool is seen after some hundred calls."""


class Latencies:
    """About 300 bytes."""

    __slots__ = ("_counts", "_total")

    def __init__(self) -> None:
        self._counts = array("H", bytes(2 * BUCKETS))
        self._total = 0

    def __len__(self) -> int:
        """Calls that are remembered."""
        return self._total

    def add(self, latency_s: float) -> None:
        bucket = math.ceil(math.log(max(latency_s / LOWEST_S, 1.0), GROWTH))
        self._counts[min(bucket, BUCKETS - 1)] += 1
        self._total += 1
        if self._total >= REMEMBERED:
            self._counts = array("H", [count // 2 for count in self._counts])
            self._total = sum(self._counts)

    def quantile_s(self, share: float) -> float | None:
        """No longer than this took `share` (0 to 1) of the calls. None: there was none."""
        if not self._total:
            return None
        wanted, seen = share * self._total, 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return LOWEST_S * GROWTH**bucket
        return None
