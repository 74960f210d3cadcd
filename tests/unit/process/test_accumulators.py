"""What every call adds to reads as the library's own metrics do."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from toolpolicy_sidecar.accumulators import BUCKETS_S, Counts, Durations


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
