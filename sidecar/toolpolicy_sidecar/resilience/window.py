"""The recent calls of a tool in bounded memory, by count or by time: how many failed, how many were slow."""

from array import array

BUCKETS = 20
"""A time window is kept in this many buckets, so a sample leaves it at most one twentieth early."""


class CountWindow:
    """The last `size` calls: a ring of two bits each (8,000 calls: 2 kB), so that the largest costs a call no more
    than the smallest."""

    __slots__ = ("_next", "_ring", "_size", "calls", "failures", "slow")

    def __init__(self, size: int) -> None:
        self._size = size
        self._ring = bytearray((size + 3) // 4)
        self._next = self.calls = self.failures = self.slow = 0

    def add(self, _now: float, *, failed: bool, slow: bool) -> None:
        place = self._next
        index, shift = place >> 2, (place & 3) << 1
        held = self._ring[index]
        oldest = held >> shift & 3
        newest = failed | slow << 1
        if self.calls == self._size:
            self.failures -= oldest & 1
            self.slow -= oldest >> 1
        else:
            self.calls += 1
        if newest != oldest:
            self._ring[index] = held ^ (oldest ^ newest) << shift
        self.failures += failed
        self.slow += slow
        place += 1
        self._next = 0 if place == self._size else place

    def resize(self, size: int) -> None:
        """Keeps the newest calls that fit."""
        places = [(self._next - age) % self._size for age in range(min(self.calls, size), 0, -1)]
        kept = [self._ring[place >> 2] >> ((place & 3) << 1) & 3 for place in places]
        self._size = size
        self.clear()
        for call in kept:
            self.add(0.0, failed=bool(call & 1), slow=bool(call & 2))

    def clear(self) -> None:
        self._ring = bytearray((self._size + 3) // 4)
        self._next = self.calls = self.failures = self.slow = 0


class TimeWindow:
    """The calls of the last `length_s` seconds, in buckets of `length_s / BUCKETS`."""

    __slots__ = ("_calls", "_failures", "_newest", "_slow", "_width_s", "calls", "failures", "slow")

    def __init__(self, length_s: float) -> None:
        self._width_s = length_s / BUCKETS
        self._newest = 0  # index of the newest bucket, counted from time zero
        self.clear()

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        if now // self._width_s > self._newest:
            self.advance(now)
        slot = self._newest % BUCKETS
        self._calls[slot] += 1
        self.calls += 1
        if failed:
            self._failures[slot] += 1
            self.failures += 1
        if slow:
            self._slow[slot] += 1
            self.slow += 1

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
            other._put(bucket * self._width_s, self._calls[slot], self._failures[slot], self._slow[slot])
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
    return array("I", (0,)) * BUCKETS
