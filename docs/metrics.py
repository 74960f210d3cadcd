"""Prints docs/metrics.md: every metric that the three processes expose, as their own registries tell them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from toolpolicy_api.snapshot import Snapshot, encode
from toolpolicy_operator.metrics import Metrics as OperatorMetrics
from toolpolicy_operator.webhook.metrics import Metrics as WebhookMetrics
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.metrics import Metrics as SidecarMetrics
from toolpolicy_sidecar.recorders import Recorders
from toolpolicy_sidecar.telemetry.metrics import ExportMetrics, RecordMetrics, SessionMetrics

HEAD = """\
# Metrics
Made from the code by `make generate`; a test holds it to that.

Labels come from policies, never from a caller. `policy` is `namespace/name`, `tool` is the policy's name for it (`*`
for those that it does not list), and reasons are those of [answers.md](answers.md). Histograms have `_bucket`, `_sum`
and `_count`. What to be alerted of: [runbooks](runbooks/README.md).

A scrape that accepts OpenMetrics, as those of Prometheus do, gets **exemplars** of `toolpolicy_tool_calls_total` and
`toolpolicy_tool_call_duration_seconds`: the `trace_id` of the last call of each series and bucket whose trace
[is kept](traces.md#sampling). Prometheus stores them with `--enable-feature=exemplar-storage`.
The dashboards show those of durations as points, which lead to the trace where Grafana's data source knows the way.
"""


class Listed(NamedTuple):
    """One metric as a scrape shows it; counters with their `_total`."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


def listed(registry: CollectorRegistry) -> list[Listed]:
    """Everything in a registry, by name, whether it has been counted yet or not."""
    return sorted(
        metric
        for collector in registry._collector_to_names  # noqa: SLF001 -- collect() shows no labels before the first sample
        for metric in _of(collector)
    )


def _of(collector: Collector) -> Iterator[Listed]:
    for family in collector.collect():
        labels = getattr(collector, "_labelnames", getattr(family, "_labelnames", ()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield Listed(name, family.type, tuple(labels), family.documentation)


def page() -> str:
    """docs/metrics.md."""
    current = Current(recorder=Recorders(), clock=SystemClock())
    current.install(encode(Snapshot(())), "docs")
    sidecar = SidecarMetrics(current).registry
    SessionMetrics(sidecar, SystemClock())
    sidecar.register(RecordMetrics(lambda: 0, Recorders()))
    sidecar.register(ExportMetrics({}))
    return "\n".join(
        [
            HEAD,
            *_table("Of every sidecar", ":19090/metrics", listed(sidecar)),
            *_table("Of the operator", ":9090/metrics", listed(OperatorMetrics().registry)),
            *_table("Of the webhook", ":9090/metrics", listed(WebhookMetrics().registry)),
        ]
    )


def _table(title: str, where: str, metrics: Iterable[Listed]) -> Iterator[str]:
    yield f"## {title}"
    yield f"At `{where}`.\n"
    yield "| metric | type | labels | |"
    yield "|---|---|---|---|"
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} |"
    yield ""


if __name__ == "__main__":
    print(page(), end="")
