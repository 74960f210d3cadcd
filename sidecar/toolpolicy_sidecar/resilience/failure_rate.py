"""The samples behind a breaker's failure rate, in bounded memory: by count or by time."""

from toolpolicy_api import snapshot

BUCKETS = 20
"""A time window is kept in this many buckets, so a sample leaves it at most one twentieth early."""


class CountWindow:
    """The last `size` calls, one bit each (10,000 calls: 1.3 kB)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bits = 0
        self.calls = 0
        self.failures = 0

    def add(self, *, failed: bool) -> None:
        if self.calls == self._size:
            self.failures -= self._bits >> (self._size - 1)
            self._bits &= (1 << (self._size - 1)) - 1
        else:
            self.calls += 1
        self._bits = self._bits << 1 | failed
        self.failures += failed

    def resize(self, size: int) -> None:
        """Keeps the newest calls that fit."""
        self._size = size
        self.calls = min(self.calls, size)
        self._bits &= (1 << size) - 1
        self.failures = self._bits.bit_count()

    def clear(self) -> None:
        self._bits = self.calls = self.failures = 0


class TimeWindow:
    """The calls of the last `length_s` seconds, in buckets of `length_s / BUCKETS`."""

    def __init__(self, length_s: float) -> None:
        self._width_s = length_s / BUCKETS
        self._newest = 0  # index of the newest bucket, counted from time zero
        self._calls = [0] * BUCKETS  # bucket i lives at i % BUCKETS
        self._failures = [0] * BUCKETS
        self.calls = 0
        self.failures = 0

    def add(self, now: float, *, failed: bool, count: int = 1) -> None:
        self.advance(now)
        slot = self._newest % BUCKETS
        self._calls[slot] += count
        self.calls += count
        if failed:
            self._failures[slot] += count
            self.failures += count

    def advance(self, now: float) -> None:
        """Forgets what is too old. Time that goes back forgets nothing and counts as the newest bucket."""
        index = int(now // self._width_s)
        for bucket in range(self._newest + 1, min(index, self._newest + BUCKETS) + 1):
            slot = bucket % BUCKETS
            self.calls -= self._calls[slot]
            self.failures -= self._failures[slot]
            self._calls[slot] = self._failures[slot] = 0
        self._newest = max(index, self._newest)

    def resized(self, length_s: float) -> "TimeWindow":
        """The same calls in a window of another length, each as old as the start of its bucket."""
        other = TimeWindow(length_s)
        for bucket in range(max(0, self._newest - BUCKETS + 1), self._newest + 1):
            slot = bucket % BUCKETS
            started = bucket * self._width_s
            other.add(started, failed=True, count=self._failures[slot])
            other.add(started, failed=False, count=self._calls[slot] - self._failures[slot])
        return other

    def clear(self) -> None:
        self._calls = [0] * BUCKETS
        self._failures = [0] * BUCKETS
        self.calls = self.failures = 0


class FailureRate:
    """Is the share of failures at or above the limit, once there are enough calls to say so?"""

    def __init__(self, config: snapshot.FailureRate) -> None:
        self._config = config
        self._window = _window(config)

    def add(self, now: float, *, failed: bool) -> None:
        if isinstance(self._window, CountWindow):
            self._window.add(failed=failed)
        else:
            self._window.add(now, failed=failed)

    def exceeded(self) -> str | None:
        """The reason to open, as of the last `add`. Exact: 2 of 3 is 66.67 %, below 67 %."""
        calls, failures = self._window.calls, self._window.failures
        if calls < self._config.minimum_calls or failures * 100 < self._config.percent * calls:
            return None
        return f"{failures * 100 // calls}% of {calls} calls failed"

    def reconfigure(self, config: snapshot.FailureRate) -> None:
        """Keeps the samples, unless a window of calls becomes one of time or the reverse: what was
        counted one way cannot be told the other way."""
        if isinstance(self._window, CountWindow) and config.calls is not None:
            self._window.resize(config.calls)
        elif isinstance(self._window, TimeWindow) and config.window_ms is not None:
            if config.window_ms != self._config.window_ms:
                self._window = self._window.resized(config.window_ms / 1000)
        else:
            self._window = _window(config)
        self._config = config

    def clear(self) -> None:
        self._window.clear()


def _window(config: snapshot.FailureRate) -> CountWindow | TimeWindow:
    if config.calls is not None:
        return CountWindow(config.calls)
    if config.window_ms is None:
        raise ValueError("a failure rate needs calls or window_ms")
    return TimeWindow(config.window_ms / 1000)
