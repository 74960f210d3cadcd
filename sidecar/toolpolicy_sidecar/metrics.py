"""Prometheus metrics. Labels come from the policy, never from a caller: their number is bounded by the policy."""

from collections.abc import Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    openmetrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from toolpolicy_api.channel import ToolKey, Transition
from toolpolicy_sidecar.accumulators import BUCKETS_S, Counted
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.preview import Previewed
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest
from toolpolicy_sidecar.runtime import Runtime
from toolpolicy_sidecar.slots import Slots, SlotsKey
from toolpolicy_sidecar.tool_calls import KEY, ToolCalls

_KEY = list(KEY)
_STATES = {"Closed": 0, "HalfOpen": 1, "Open": 2, "Disabled": 3}


class Metrics:
    """One registry of its own; `text` is what /metrics answers."""

    def __init__(self, current: Current) -> None:
        self.registry = CollectorRegistry()
        self._tools = ToolCalls()
        self.registry.register(self._tools)
        current.on_install.append(self._declare)
        self._retries = Counter(
            "toolpolicy_tool_retries_total",
            "Further attempts, by what had failed before them.",
            [*_KEY, "reason"],
            registry=self.registry,
        )
        self._hedges = Counter(
            "toolpolicy_tool_hedges_total",
            "Second attempts beside late first ones: did the agent get their answer?",
            [*_KEY, "result"],
            registry=self.registry,
        )
        self._queued = Histogram(
            "toolpolicy_tool_queue_duration_seconds",
            "How long calls waited for the slots that they got in the end.",
            _KEY,
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._transitions = Counter(
            "toolpolicy_circuit_transitions_total",
            "Changes of circuits.",
            [*_KEY, "to"],
            registry=self.registry,
        )
        self._fallbacks = Counter(
            "toolpolicy_fallbacks_total",
            "Calls whose tool has a fallback for them: why its own answer was missing, and was it Answered instead?",
            [*_KEY, "fallback", "reason", "result"],
            registry=self.registry,
        )
        self._shadows = Counter(
            "toolpolicy_shadow_decisions_total",
            "Calls that passed, by what Enforce (or a circuit breaker that only observes) would have done with them.",
            [*_KEY, "reason"],
            registry=self.registry,
        )
        self._shadow_redactions = Counter(
            "toolpolicy_shadow_redactions_total",
            "Texts that mode Enforce would have taken out.",
            [*_KEY, "detector", "direction"],
            registry=self.registry,
        )
        self._previews = Counter(
            "toolpolicy_redaction_previews_total",
            "Calls that stricter redaction (redaction.preview) has looked at.",
            _KEY,
            registry=self.registry,
        )
        self._would_find = Counter(
            "toolpolicy_redaction_would_find_total",
            "Texts that it has found in them, beyond what was redacted.",
            [*_KEY, "detector", "direction"],
            registry=self.registry,
        )
        self._refused = Counter(
            "toolpolicy_requests_refused_total",
            "Requests refused before they belonged to a tool.",
            ["reason"],
            registry=self.registry,
        )
        self._egress = Counter(
            "toolpolicy_egress_total",
            "What passed unread, once it is over: to hosts that no policy names, and in WebSockets to its servers.",
            ["via"],
            registry=self.registry,
        )
        self._egress_bytes = Counter(
            "toolpolicy_egress_bytes_total",
            "Of bodies and tunnels of that.",
            ["via", "direction"],
            registry=self.registry,
        )
        in_flight = Gauge("toolpolicy_requests_in_flight", "Requests being answered.", registry=self.registry)
        in_flight.set_function(lambda: current.in_flight.requests)
        self.nacks = Counted("toolpolicy_config_nacks", "Configurations refused.", self.registry)
        self.tunnels = Gauge(
            "toolpolicy_egress_tunnels_open", "Tunnels to hosts that no policy names.", registry=self.registry
        )
        self.intercepted = Counted(
            "toolpolicy_intercepted_connections", "Tunnels to hosts that a policy names.", self.registry
        )
        self.handshakes_failed = Counted(
            "toolpolicy_intercepted_handshakes_failed",
            "Of the agent, most often because it does not trust the bundle.",
            self.registry,
        )
        self.unpoliced = Counted(
            "toolpolicy_egress_unpoliced",
            "What of it began before any policy had come (coldStart: Passthrough).",
            self.registry,
        )
        self.connected = Gauge(
            "toolpolicy_channel_connected", "1: the operator is connected.", registry=self.registry
        )
        self.registry.register(_InForce(current))
        ProcessCollector(registry=self.registry)

    def _declare(self, runtime: Runtime) -> None:
        """What alerts read is there before the first call, for every tool of the policies."""
        for of in runtime.circuits:
            self._tools.declare((of.policy, of.server, of.tool))

    def call(self, record: CallRecord) -> None:
        key = (record.policy, record.server, record.tool)
        self._tools.add(key, record)
        if record.queued_ms:
            self._queued.labels(*key).observe(record.queued_ms / 1000)
        if record.fallback is not None:
            came_of_it = record.fallback_missed or "Answered"
            self._fallbacks.labels(*key, record.fallback, record.reason or "", came_of_it).inc()
        if record.hedge is not None:
            self._hedges.labels(*key, record.hedge).inc()
        for reason in record.retries:
            self._retries.labels(*key, reason).inc()
        if record.shadow:
            self._shadow(record)

    def _shadow(self, record: CallRecord) -> None:
        key = (record.policy, record.server, record.tool)
        for decision in record.shadow:
            self._shadows.labels(*key, decision).inc()
        found = (("request", record.shadow_redacted_request), ("response", record.shadow_redacted_response))
        for direction, hits in found:
            for detector, count in hits.items():
                self._shadow_redactions.labels(*key, detector, direction).inc(count)

    def previewed(self, previewed: Previewed) -> None:
        key = (previewed.policy, previewed.server, previewed.tool)
        self._previews.labels(*key).inc()
        for direction, hits in previewed.found.items():
            for detector, count in hits.items():
                self._would_find.labels(*key, detector, direction.lower()).inc(count)

    def refused(self, record: RefusedRequest) -> None:
        self._refused.labels(record.reason).inc()

    def redacted(self, record: RedactedMessage) -> None:
        self._tools.message(record)

    def egress(self, record: EgressRecord) -> None:
        self._egress.labels(record.via).inc()
        self._egress_bytes.labels(record.via, "sent").inc(record.sent_bytes)
        self._egress_bytes.labels(record.via, "received").inc(record.received_bytes)

    def transition(self, transition: Transition) -> None:
        key = transition.key
        self._transitions.labels(key.policy, key.server, key.tool, transition.after).inc()

    def text(self) -> bytes:
        """Prometheus' text format 0.0.4, which has no exemplars."""
        return generate_latest(self.registry)

    def open_text(self) -> bytes:
        """OpenMetrics 1.0: the same, with trace ids as exemplars."""
        text: bytes = openmetrics.exposition.generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return text


class _InForce(Collector):
    """Read at the scrape: circuits of the policies in force, and which configuration that is."""

    def __init__(self, current: Current) -> None:
        self._current = current

    def collect(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "toolpolicy_circuit_state", "0 Closed, 1 HalfOpen, 2 Open, 3 Disabled.", labels=_KEY
        )
        config = GaugeMetricFamily(
            "toolpolicy_config_info", "The configuration in force.", labels=["hash", "source"]
        )
        websockets = GaugeMetricFamily(
            "toolpolicy_websockets_open",
            "WebSockets; policy and server are empty for hosts that no policy names.",
            labels=_KEY[:2],
        )
        for server, count in self._current.websockets.items():
            websockets.add_metric(server, count)
        yield websockets
        runtime = self._current.runtime
        if runtime:
            config.add_metric([runtime.hash, runtime.source], 1)
            for report in runtime.reports():
                states.add_metric(_labels(report.key), _STATES[report.state])
            yield from _slots(runtime.slots)
        yield states
        yield config


def _slots(slots: Mapping[SlotsKey, Slots]) -> Iterator[Metric]:
    """Tools and servers have metrics of their own names, so that no sum counts a call twice."""
    for kind, names in (("tool", _KEY), ("server", _KEY[:2])):
        in_flight = GaugeMetricFamily(
            f"toolpolicy_{kind}_calls_in_flight", "Calls that hold a slot.", labels=names
        )
        queued = GaugeMetricFamily(
            f"toolpolicy_{kind}_calls_queued", "Calls that wait for a slot.", labels=names
        )
        limit = GaugeMetricFamily(
            f"toolpolicy_{kind}_concurrency_limit", "Slots that there are now.", labels=names
        )
        for key, of in slots.items():
            if (key.tool is None) != (kind == "server"):
                continue
            labels = [key.policy, key.server, key.tool or ""][: len(names)]
            in_flight.add_metric(labels, of.in_flight)
            queued.add_metric(labels, of.waiting)
            if of.limit is not None:
                limit.add_metric(labels, of.limit)
        yield from (in_flight, queued, limit)


def _labels(key: ToolKey) -> list[str]:
    return [key.policy, key.server, key.tool]
