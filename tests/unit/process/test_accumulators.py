"""What every call adds to reads as the library's own metrics do."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from tests.unit.telemetry.made import record
from toolpolicy_sidecar.accumulators import BUCKETS_S
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import RedactedMessage
from toolpolicy_sidecar.tool_calls import KEY, ToolCalls

A, B = ("a/p", "kb", "search"), ("a/p", "kb", "*")


def ours(calls: ToolCalls) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(calls)
    return registry


def called(calls: ToolCalls, key: tuple[str, str, str], **fields: Any) -> None:
    calls.add(key, record(policy=key[0], server=key[1], tool=key[2], **fields))


def exemplars(registry: CollectorRegistry) -> dict[str, str]:
    """Sample → its exemplar, as OpenMetrics has them."""
    lines = generate_openmetrics(registry).decode().splitlines()  # type: ignore[no-untyped-call]
    return dict(line.split(" # ") for line in lines if " # " in line)


def text(registry: CollectorRegistry, *, of: str = "") -> list[str]:
    """Without when each was made."""
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line and of in line]


def test_a_scrape_cannot_tell_them_apart() -> None:
    calls, theirs = ToolCalls(), CollectorRegistry()
    name = "toolpolicy_tool_call_duration_seconds"
    histogram = Histogram(
        name, "From a call's arrival to the end of its answer.", KEY, buckets=BUCKETS_S, registry=theirs
    )
    counter = Counter("toolpolicy_tool_calls", "Tool calls.", [*KEY, "outcome", "reason"], registry=theirs)
    for key, ms in ((A, 0.0), (A, 5.0), (B, 300.0), (A, 120_000.0), (A, 500_000.0)):
        called(calls, key, duration_ms=ms)
        histogram.labels(*key).observe(ms / 1000)
        counter.labels(*key, "success", "").inc()
    for each in (name, "toolpolicy_tool_calls"):
        assert text(ours(calls), of=each) == text(theirs, of=each)


def test_each_bucket_keeps_the_last_call_whose_trace_is_kept() -> None:
    calls = ToolCalls()
    for ms, at_ms, trace in ((3, 1000, "a"), (4, 1996, "b"), (2, 0, None), (500_000, 0, "c")):
        called(calls, A, duration_ms=ms, started_at_ms=at_ms, trace_id=trace or "x", traced=trace is not None)
    called(calls, B, duration_ms=3)
    labels = 'policy="a/p",server="kb",tool="search"'
    name = "toolpolicy_tool_call_duration_seconds_bucket"
    assert exemplars(ours(calls)) == {
        f'{name}{{le="0.005",{labels}}} 3.0': '{trace_id="b"} 0.004 2.0',
        f'{name}{{le="+Inf",{labels}}} 4.0': '{trace_id="c"} 500.0 500.0',
        'toolpolicy_tool_calls_total{outcome="success",policy="a/p",reason="",server="kb",tool="search"} 4.0': (
            '{trace_id="c"} 1.0 500.0'
        ),
    }
    assert "trace_id" not in "".join(text(ours(calls)))


def test_results_are_the_same_calls_as_alerts_count_them() -> None:
    calls = ToolCalls()
    calls.declare(B)
    called(calls, A)
    called(calls, A, outcome="refused", reason=Reason.CircuitOpen)
    called(calls, A, outcome="failure", reason=Reason.ServerError)
    called(calls, A, outcome="refused", reason=Reason.ToolDisabled)
    found = {
        (sample.labels["tool"], sample.labels["result"]): sample.value
        for family in calls.collect()
        for sample in family.samples
        if sample.name == "toolpolicy_tool_results_total"
    }
    none = dict.fromkeys(("success", "neutral", "error", "throttled", "disabled"), 0)
    expected = {"search": none | {"success": 1, "error": 2, "disabled": 1}, "*": none}
    assert found == {(tool, name): n for tool, of in expected.items() for name, n in of.items()}


def test_texts_taken_out_of_calls_and_beside_them() -> None:
    calls = ToolCalls()
    called(calls, A, redacted_request={"Email": 2}, redacted_response={"Email": 1})
    called(calls, A, redacted_request={"Email": 3, "JWT": 1})
    calls.message(RedactedMessage(policy="a/p", server="kb", hits={"JWT": 4}))
    labels = 'policy="a/p",server="kb"'
    assert sorted(text(ours(calls), of="toolpolicy_redactions_total{")) == sorted(
        f'toolpolicy_redactions_total{{detector="{detector}",direction="{direction}",{labels},tool="{tool}"}} {n}.0'
        for detector, direction, tool, n in (
            ("Email", "request", "search", 5),
            ("Email", "response", "search", 1),
            ("JWT", "request", "search", 1),
            ("JWT", "response", "*", 4),
        )
    )
