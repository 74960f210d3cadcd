"""What the operator counts about itself. No label comes from a client."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ConditionNow(NamedTuple):
    """A condition as it stands on a policy (namespace/name)."""

    policy: str
    type: str
    status: str
    reason: str


class Conditions(Collector):
    """Read at the scrape: three series for each policy, and none for one that is gone."""

    def __init__(self) -> None:
        self.read: Callable[[], Iterable[ConditionNow]] = tuple

    def collect(self) -> Iterator[Metric]:
        now = GaugeMetricFamily(
            "toolpolicy_operator_policy_condition",
            "1: this is what the condition says on the policy's status. Only the leader tells.",
            labels=ConditionNow._fields,
        )
        for condition in self.read():
            now.add_metric(condition, 1)
        yield now


class PodsWithoutSidecar(Collector):
    """Read at the scrape."""

    def __init__(self) -> None:
        self.read: Callable[[], Mapping[str, int]] = dict

    def collect(self) -> Iterator[Metric]:
        now = GaugeMetricFamily(
            "toolpolicy_operator_pods_without_sidecar",
            "Pods that a policy selects, in a namespace that asks for sidecars, and that have none nor opt out of one."
            " Only the leader tells.",
            labels=["policy"],
        )
        for policy, count in self.read().items():
            now.add_metric([policy], count)
        yield now


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leader = self._gauge("leader", "1 while this replica holds the Lease.")
        self.connections = self._gauge("sidecars_connected", "Sidecars on the control channel.")
        self.policies = self._gauge("policies", "ToolPolicies known.")
        self.pods = self._gauge("pods", "Injected pods known.")
        self.refused = self._counter(
            "connections_refused", "Connections that were not let in, by HTTP status.", "status"
        )
        self.dropped = self._counter("connections_dropped", "Sidecars whose connection the operator ended.")
        self.answers = self._counter("snapshots", "Snapshots pushed, acked and nacked.", "step")
        self.confirmed = Histogram(
            "toolpolicy_operator_change_confirmed_seconds",
            "From a change known here to its ACK by one sidecar.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.status_writes = self._counter("status_writes", "Writes of status, by result.", "result")
        self.events = self._counter("events", "Kubernetes Events: written, failed, dropped.", "result")
        self.missed = self._counter(
            "watch_missed", "Changes that a watch had not told when a full list did. The watches restart."
        )
        self.certificate_expires = self._gauge(
            "certificate_expires_seconds", "Unix time when the channel's certificate ends."
        )

        self.conditions = Conditions()
        self.uncovered = PodsWithoutSidecar()
        for collector in (self.conditions, self.uncovered):
            self.registry.register(collector)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"toolpolicy_operator_{name}", text, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"toolpolicy_operator_{name}", text, labels, registry=self.registry)
