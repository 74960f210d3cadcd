"""What every call adds to reads as the library's own metrics do."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from toolpolicy_sidecar.accumulators import BUCKETS_S, Counts, Durations


def exemplars(registry: CollectorRegistry) -> dict[str, str]:
    """Sample → its exemplar, as OpenMetrics has them."""
    lines = generate_openmetrics(registry).decode().splitlines()  # type: ignore[no-untyped-call]
    return dict(line.split(" # ") for line in lines if " # " in line)


def text(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line]


def test_a_scrape_cannot_tell_them_apart() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations, counts = Durations("d_seconds", "How long.", ["tool"]), Counts("n", "How many.", ["tool"])
    ours.register(durations)
    ours.register(counts)
    histogram = Histogram("d_seconds", "How long.", ["tool"], buckets=BUCKETS_S, registry=theirs)
    counter = Counter("n", "How many.", ["tool"], registry=theirs)
    for tool, seconds in (("a", 0.0), ("a", 0.005), ("b", 0.3), ("a", 120.0), ("a", 500.0)):
        durations.add((tool,), seconds)
        histogram.labels(tool).observe(seconds)
        counts.add((tool,))
        counter.labels(tool).inc()
    assert text(ours) == text(theirs)


def test_each_bucket_keeps_the_last_call_whose_trace_is_kept() -> None:
    ours = CollectorRegistry()
    durations, counts = Durations("d_seconds", "How long.", ["tool"]), Counts("n", "How many.", ["tool"])
    ours.register(durations)
    ours.register(counts)
    for seconds, traced in ((0.003, ("a", 1.0)), (0.004, ("b", 2.0)), (0.002, None), (500.0, ("c", 3.5))):
        durations.add(("t",), seconds, traced)
        counts.add(("t",), traced)
    durations.add(("other",), 0.003)
    assert exemplars(ours) == {
        'd_seconds_bucket{le="0.005",tool="t"} 3.0': '{trace_id="b"} 0.004 2.0',
        'd_seconds_bucket{le="+Inf",tool="t"} 4.0': '{trace_id="c"} 500.0 3.5',
        'n_total{tool="t"} 4.0': '{trace_id="c"} 1.0 3.5',
    }
    assert "trace_id" not in "".join(text(ours))
