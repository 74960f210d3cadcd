"""What every call adds to: plain numbers, made into metrics when somebody asks for them.

The library's own children take a lock and walk their buckets for each value. Values come from the event loop alone, and
a scrape is answered on it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_BOUNDS = [*map(str, BUCKETS_S), "+Inf"]
Labels = tuple[str, ...]
Traced = tuple[str, float]
"""Of a call whose trace is kept: its trace id, and when it was over in Unix seconds."""


class Counts(Collector):
    """A counter. `name` without `_total`."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._described = (name, documentation, labels)
        self._counts: dict[Labels, int] = {}
        self._traced: dict[Labels, Traced] = {}

    def declare(self, labels: Labels) -> None:
        """There from now on, at 0: `rate` sees the first one counted only if it saw the 0 before it."""
        self._counts.setdefault(labels, 0)

    def add(self, labels: Labels, traced: Traced | None = None, count: int = 1) -> None:
        """The last one that is traced becomes the exemplar."""
        self._counts[labels] = self._counts.get(labels, 0) + count
        if traced is not None:
            self._traced[labels] = traced

    def collect(self) -> Iterator[Metric]:
        name, documentation, names = self._described
        family = CounterMetricFamily(name, documentation, labels=names)
        for labels, count in self._counts.items():
            traced = self._traced.get(labels)
            family.add_metric(labels, count, exemplar=_exemplar(traced, 1) if traced else None)
        yield family


class Durations(Collector):
    """A histogram of seconds."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._described = (name, documentation, labels)
        self._counts: dict[Labels, list[int]] = {}
        self._sums_s: dict[Labels, float] = {}
        self._traced: dict[Labels, dict[int, tuple[Traced, float]]] = {}

    def declare(self, labels: Labels) -> None:
        """There from now on, empty."""
        if labels not in self._counts:
            self._counts[labels] = [0] * len(_BOUNDS)
            self._sums_s[labels] = 0.0

    def add(self, labels: Labels, seconds: float, traced: Traced | None = None) -> None:
        """The last one in a bucket that is traced becomes the bucket's exemplar."""
        self.declare(labels)
        bucket = bisect_left(BUCKETS_S, seconds)
        self._counts[labels][bucket] += 1
        self._sums_s[labels] += seconds
        if traced is not None:
            self._traced.setdefault(labels, {})[bucket] = (traced, seconds)

    def collect(self) -> Iterator[Metric]:
        name, documentation, names = self._described
        family = HistogramMetricFamily(name, documentation, labels=names)
        for labels, counts in self._counts.items():
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = list(
                zip(_BOUNDS, map(float, accumulate(counts)), strict=True)
            )
            for bucket, (traced, seconds) in self._traced.get(labels, {}).items():
                buckets[bucket] = (*buckets[bucket][:2], _exemplar(traced, seconds))
            family.add_metric(labels, buckets, self._sums_s[labels])
        yield family


def _exemplar(traced: Traced, value: float) -> Exemplar:
    return Exemplar({"trace_id": traced[0]}, value, traced[1])
