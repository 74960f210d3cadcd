"""Finds how many calls at once a tool can take, from how long they take.

As long as a tool has room, one more call in flight costs the others nothing. Beyond its capacity calls queue up
inside of it, and by Little's law their mean latency grows as their number does. So the ratio of the latency without
a queue (the base) to the one that is measured is by how much there are too many: the *gradient*, as in Netflix's
concurrency-limits and Envoy's adaptive concurrency. AIMD was not taken: it needs to know which latency is too much,
and that is a number that nobody has for somebody else's tool.

The base is what such limits stumble over. Learned under a load that is always too high, it drifts upwards and the
limit with it (Gradient2); found by going down to almost no calls, as Envoy does, it costs throughput. Here it is
measured at three fifths of the limit for one window in twenty: there is no queue left if the limit was not far off,
and if it was, each such window brings it closer. When the limit has fallen by much, it is measured at once: a tool
that became slower, not fuller, would otherwise be taken down to nothing.
"""

from typing import NamedTuple

START = 4
"""Slots to begin with, within the bounds: few, since doubling gets up quickly and a wrong base leaves slowly."""
WINDOW_S = 1.0
WINDOW_CALLS = 30
WINDOW_ROUNDS = 4
"""A window is at least this long, has as many calls, and as many for each slot."""
PROBE_EVERY = 20
PROBE_SHARE = 0.6
FALLEN_SHARE = 0.7
BASE_WEIGHT = 0.7
"""Of a new measurement in the base."""
LIMIT_WEIGHT = 0.3
"""Of the limit that a window calls for in the one that is in force: means of few calls are noisy."""
HEADROOM = 0.1
"""A queue this long, but of one call at least, is wanted: without one, room that came free would not be found."""
GRADIENT_MIN, GRADIENT_MAX = 0.5, 1.1
CONGESTED = 0.8
"""A gradient below ends the doubling."""


class Sample(NamedTuple):
    """How one call went. Dropped: its time ran out, or the tool said that it had too many (429)."""

    latency_s: float
    dropped: bool = False


class AdaptiveLimit:
    """A limit between two bounds. All times are monotonic seconds."""

    __slots__ = (
        "_base_s",
        "_calls",
        "_doubling",
        "_dropped",
        "_highest",
        "_lowest",
        "_peak",
        "_probing",
        "_since",
        "_sum_s",
        "_top",
        "_value",
        "_windows",
    )

    def __init__(self, lowest: int, highest: int) -> None:
        self._lowest, self._highest = lowest, highest
        self._value = float(min(highest, max(lowest, START)))
        self._top = self._value  # since the last probe
        self._base_s: float | None = None
        self._doubling = True
        self._probing = False
        self._windows = 0  # since the last probe
        self._since = 0.0
        # of the window that is open
        self._sum_s = 0.0
        self._calls = self._dropped = self._peak = 0

    @property
    def limit(self) -> int:
        return max(self._lowest, int(self._value * PROBE_SHARE if self._probing else self._value))

    def reconfigure(self, lowest: int, highest: int) -> None:
        """What was learned stays."""
        self._lowest, self._highest = lowest, highest
        self._value = min(max(self._value, lowest), highest)

    def add(self, sample: Sample, now: float, *, began: float, in_flight: int) -> None:
        """One call ended `now`, as one of `in_flight`. Calls that began under another limit are not looked at."""
        if began < self._since:
            return
        self._peak = max(self._peak, in_flight)
        self._calls += 1
        if sample.dropped:
            self._dropped += 1
        else:
            self._sum_s += sample.latency_s
        wanted = max(WINDOW_CALLS, WINDOW_ROUNDS * self.limit)
        if self._probing or self._base_s is None:
            wanted *= 2  # all that follows is compared with it
        if self._calls >= wanted and now - self._since >= WINDOW_S:
            self._conclude()
            self._since = now
            self._clear()

    def _conclude(self) -> None:
        if self._dropped == self._calls:
            self._begin_anew()
            return
        mean_s = self._sum_s / (self._calls - self._dropped)
        used = self._peak > PROBE_SHARE * self.limit
        if self._base_s is None:
            self._base_s = mean_s
        elif self._probing or not used or self.limit == self._lowest:
            self._base_s += (mean_s - self._base_s) * BASE_WEIGHT
        if self._probing:
            self._top, self._windows = self._value, 0
        else:
            self._adjust(self._base_s / mean_s if mean_s > 0 else 1.0, used=used)
        fallen = self._value < FALLEN_SHARE * self._top
        self._windows += 1
        self._probing = (
            not self._probing and self.limit > self._lowest and (fallen or self._windows >= PROBE_EVERY)
        )

    def _adjust(self, ratio: float, *, used: bool) -> None:
        """A limit that nobody came near to does not grow."""
        kept = 1 - self._dropped / self._calls
        gradient = max(GRADIENT_MIN, kept * min(GRADIENT_MAX, ratio))
        value = self._value
        if self._doubling and used and gradient > CONGESTED:
            value *= 2
        elif used or gradient < CONGESTED:
            self._doubling = False
            wanted = value * gradient + max(1.0, HEADROOM * value)
            value += (wanted - value) * LIMIT_WEIGHT
        self._value = min(max(value, self._lowest), self._highest)
        self._top = max(self._top, self._value)

    def _begin_anew(self) -> None:
        """Nothing came back: an outage, which says nothing about what the tool can take after it."""
        self._value = self._top = float(min(self._highest, max(self._lowest, START)))
        self._doubling, self._probing, self._windows = True, False, 0

    def _clear(self) -> None:
        self._sum_s = 0.0
        self._calls = self._dropped = self._peak = 0
