"""What every call adds to: plain numbers, made into metrics when somebody asks for them.

The library's own children take a lock and walk their buckets for each value. Values come from the event loop alone, and
a scrape is answered on it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_BOUNDS = [*map(str, BUCKETS_S), "+Inf"]
Labels = tuple[str, ...]
Traced = tuple[str, float]
"""Of a call whose trace is kept: its trace id, and when it was over in Unix seconds."""


class Counted(Collector):
    """A counter without labels that somebody else counts, and is asked for: `read`. `name` is without `_total`."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name, self._documentation = name, documentation
        self.read: Callable[[], int] = lambda: 0
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(self._name, self._documentation, value=self.read())


class Durations:
    """What a histogram of seconds has under one set of labels."""

    __slots__ = ("_counts", "_sum_s", "_traced")

    def __init__(self) -> None:
        self._counts = [0] * len(_BOUNDS)
        self._sum_s = 0.0
        self._traced: dict[int, tuple[Traced, float]] = {}

    def add(self, seconds: float, traced: Traced | None = None) -> None:
        """The last one in a bucket that is traced becomes the bucket's exemplar."""
        bucket = bisect_left(BUCKETS_S, seconds)
        self._counts[bucket] += 1
        self._sum_s += seconds
        if traced is not None:
            self._traced[bucket] = (traced, seconds)

    def tell(self, family: HistogramMetricFamily, labels: Labels) -> None:
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = list(
            zip(_BOUNDS, map(float, accumulate(self._counts)), strict=True)
        )
        for bucket, (traced, seconds) in self._traced.items():
            buckets[bucket] = (*buckets[bucket][:2], exemplar(traced, seconds))
        family.add_metric(labels, buckets, self._sum_s)


def exemplar(traced: Traced, value: float) -> Exemplar:
    return Exemplar({"trace_id": traced[0]}, value, traced[1])
