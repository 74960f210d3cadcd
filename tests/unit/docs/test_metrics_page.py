"""docs/metrics.md is what the code exposes."""

import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from docs.metrics import Listed, listed, page

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_the_page_is_the_generated_one() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make generate"


def test_what_is_called_a_total_is_a_counter() -> None:
    """Grafana and promtool go by the type."""
    totals = re.findall(r"^\| `(\w+_total)` \| (\w+) \|", page(), re.MULTILINE)
    assert len(totals) > 20
    assert [name for name, kind in totals if kind != "counter"] == []


class Slots(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("slots", "Read at the scrape.", labels=["tool"])


def test_metrics_are_listed_before_anything_was_counted() -> None:
    registry = CollectorRegistry()
    Counter("calls_total", "Calls.", ["tool", "outcome"], registry=registry)
    Histogram("waits_seconds", "Waits.", registry=registry)
    registry.register(Slots())
    assert listed(registry) == [
        Listed("calls_total", "counter", ("tool", "outcome"), "Calls."),
        Listed("slots", "gauge", ("tool",), "Read at the scrape."),
        Listed("waits_seconds", "histogram", (), "Waits."),
    ]
