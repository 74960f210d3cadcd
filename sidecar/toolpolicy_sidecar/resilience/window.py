"""The recent calls of a tool in bounded memory, by count or by time: how many failed, how many were slow."""

from array import array

BUCKETS = 20
"""A time window is kept in this many buckets, so a sample leaves it at most one twentieth early."""


class CountWindow:
    """The last `size` calls, at most two bits each (10,000 calls: 2.7 kB)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._failed = 0  # one bit a call, the newest lowest
        self._slow = 0
        self.calls = self.failures = self.slow = 0

    def add(self, *, failed: bool, slow: bool) -> None:
        if self.calls == self._size:
            oldest = self._size - 1
            self.failures -= self._failed >> oldest
            self.slow -= self._slow >> oldest
            mask = (1 << oldest) - 1
            self._failed &= mask
            self._slow &= mask
        else:
            self.calls += 1
        self._failed = self._failed << 1 | failed
        self._slow = self._slow << 1 | slow
        self.failures += failed
        self.slow += slow

    def resize(self, size: int) -> None:
        """Keeps the newest calls that fit."""
        self._size = size
        self.calls = min(self.calls, size)
        mask = (1 << size) - 1
        self._failed &= mask
        self._slow &= mask
        self.failures, self.slow = self._failed.bit_count(), self._slow.bit_count()

    def clear(self) -> None:
        self._failed = self._slow = self.calls = self.failures = self.slow = 0


class TimeWindow:
    """The calls of the last `length_s` seconds, in buckets of `length_s / BUCKETS`."""

    def __init__(self, length_s: float) -> None:
        self._width_s = length_s / BUCKETS
        self._newest = 0  # index of the newest bucket, counted from time zero
        self.clear()

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        self._put(now, 1, int(failed), int(slow))

    def advance(self, now: float) -> None:
        """Forgets what is too old. Time that goes back forgets nothing and counts as the newest bucket."""
        index = int(now // self._width_s)
        if index <= self._newest:
            return
        for bucket in range(self._newest + 1, min(index, self._newest + BUCKETS) + 1):
            slot = bucket % BUCKETS
            self.calls -= self._calls[slot]
            self.failures -= self._failures[slot]
            self.slow -= self._slow[slot]
            self._calls[slot] = self._failures[slot] = self._slow[slot] = 0
        self._newest = index

    def resized(self, length_s: float) -> "TimeWindow":
        """The same calls in a window of another length, each as old as the start of its bucket."""
        other = TimeWindow(length_s)
        for bucket in range(max(0, self._newest - BUCKETS + 1), self._newest + 1):
            slot = bucket % BUCKETS
            started = bucket * self._width_s
            other._put(started, self._calls[slot], self._failures[slot], self._slow[slot])
        return other

    def clear(self) -> None:
        self._calls = _counts()  # bucket i lives at i % BUCKETS
        self._failures = _counts()
        self._slow = _counts()
        self.calls = self.failures = self.slow = 0

    def _put(self, at: float, calls: int, failures: int, slow: int) -> None:
        self.advance(at)
        slot = self._newest % BUCKETS
        self._calls[slot] += calls
        self._failures[slot] += failures
        self._slow[slot] += slow
        self.calls += calls
        self.failures += failures
        self.slow += slow


def _counts() -> "array[int]":
    return array("I", bytes(4 * BUCKETS))
