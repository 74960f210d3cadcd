"""Metrics about records, exports and sessions. Labels come from policies and the code, never from sessions."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.recorders import Recorders
from toolpolicy_sidecar.sessions import Ended, Sessions
from toolpolicy_sidecar.telemetry.outbox import Dropped
from toolpolicy_sidecar.telemetry.settings import Signal
from toolpolicy_sidecar.telemetry.shipper import Shipper

_COUNTS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200)
_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600)


class SessionMetrics:
    """Histograms over sessions that are over, and gauges of those that are not."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        sessions = Sessions(self._ended, clock)
        self.call = sessions.add
        # Registered first, so that what it finds to be over is in the histograms of the same scrape.
        registry.register(_Live(sessions))

        def histogram(name: str, text: str, buckets: tuple[int, ...]) -> Histogram:
            return Histogram(
                f"toolpolicy_session_{name}", text, ["policy"], buckets=buckets, registry=registry
            )

        self._calls = histogram("calls", "Calls of sessions that are over.", _COUNTS)
        self._errors = histogram("errors", "Their calls that failed or were refused.", (0, *_COUNTS))
        self._iterations = histogram("iterations", "Their turns: calls side by side are one.", _COUNTS)
        self._durations = histogram("duration_seconds", "From their first call to their last.", _SECONDS)

    def declare(self, policies: Iterable[str]) -> None:
        """There from now on, empty: `rate` sees the first session that ends."""
        for policy in policies:
            for histogram in (self._calls, self._errors, self._iterations, self._durations):
                histogram.labels(policy)

    def _ended(self, ended: Ended) -> None:
        self._calls.labels(ended.policy).observe(ended.calls)
        self._errors.labels(ended.policy).observe(ended.errors)
        self._iterations.labels(ended.policy).observe(ended.iterations)
        self._durations.labels(ended.policy).observe(ended.duration_s)


class _Live(Collector):
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def collect(self) -> Iterator[Metric]:
        self._sessions.expire()
        yield GaugeMetricFamily(
            "toolpolicy_sessions_live", "Sessions that are not over.", value=self._sessions.live
        )
        iterations = GaugeMetricFamily(
            "toolpolicy_session_live_iterations",
            "Turns so far of the session with the most: a loop shows while it runs.",
            labels=["policy"],
        )
        for policy, most in self._sessions.longest().items():
            iterations.add_metric([policy], most)
        yield iterations


class RecordMetrics(Collector):
    """Read at the scrape. Begun = recorded + those without a record in some place + those that are not over."""

    def __init__(self, begun: Callable[[], int], recorders: Recorders) -> None:
        self._begun, self._recorders = begun, recorders

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("toolpolicy_calls_begun", "Tool calls that arrived.", value=self._begun())
        yield CounterMetricFamily(
            "toolpolicy_call_records",
            "Tool calls that are over, and that log, metrics and exports all have.",
            value=self._recorders.recorded,
        )
        lost = CounterMetricFamily(
            "toolpolicy_call_records_lost", "Tool calls that one of them has not: a bug.", labels=["recorder"]
        )
        for recorder in dict.fromkeys(type(each).__name__ for each in self._recorders.all):
            lost.add_metric([recorder], self._recorders.lost[recorder])
        yield lost


class ExportMetrics(Collector):
    """Read at the scrape. Of `traces` in spans, of `logs` in records."""

    def __init__(self, shippers: Mapping[Signal, Shipper[Any]]) -> None:
        self._shippers = shippers

    def collect(self) -> Iterator[Metric]:
        exported = CounterMetricFamily(
            "toolpolicy_telemetry_exported", "Spans and log records that a receiver took.", labels=["signal"]
        )
        dropped = CounterMetricFamily(
            "toolpolicy_telemetry_dropped",
            "Those that none got: QueueFull, NotDelivered, Rejected, Unencodable.",
            labels=["signal", "reason"],
        )
        queued = GaugeMetricFamily("toolpolicy_telemetry_queued", "Those that wait.", labels=["signal"])
        for signal, shipper in self._shippers.items():
            exported.add_metric([signal], shipper.outbox.exported)
            queued.add_metric([signal], shipper.outbox.size)
            for reason in get_args(Dropped):
                dropped.add_metric([signal, reason], shipper.outbox.dropped[reason])
        yield from (exported, dropped, queued)
