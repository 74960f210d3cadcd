"""What leaves is what the SDK's own encoder makes of the same spans."""

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from toolpolicy_sidecar.telemetry.otlp import Attributed, Value, request

RESOURCE, SCOPE = (
    Resource({"service.name": "toolpolicy", "k8s.pod.name": "p" * 200}),
    InstrumentationScope("t", "1"),
)
PARENT = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "b")]))


def span(number: int, attributes: dict[str, Value]) -> ReadableSpan:
    """Odd ones have everything that a span can have."""
    full = bool(number % 2)
    return ReadableSpan(
        f"span {number}",
        SpanContext(2**127 + number, 2**63 + number, is_remote=False, trace_state=PARENT.trace_state),
        PARENT if full else None,
        RESOURCE,
        attributes,
        (Event("event", {"number": number, "why": "it was so"}, 1_795_230_760_990_000_000),) if full else (),
        (Link(PARENT),) if full else (),
        SpanKind.CLIENT if full else SpanKind.SERVER,
        instrumentation_scope=SCOPE,
        status=Status(StatusCode.ERROR, "why") if full else Status(),
        start_time=number,
        end_time=number + 1,
    )


def test_it_is_what_the_sdk_makes() -> None:
    own: dict[str, Value] = {"own": "x" * 300}
    common: dict[str, Value] = {
        "word": "é",
        "number": 1,
        "negative": -1,
        "yes": True,
        "no": False,
        "share": 1.0,
        "words": ("a", "b"),
        "none": (),
        "long": "y" * 20_000,
    }
    turned = dict(zip(common, reversed(common.values()), strict=True))
    for number in (1, 2, 150):
        attributes = [(common, turned, {})[each % 3] for each in range(number)]
        made = request(Attributed(span(each, own), attributes[each]) for each in range(number))
        theirs = encode_spans([span(each, own | attributes[each]) for each in range(number)])
        assert ExportTraceServiceRequest.FromString(made) == theirs


def test_requests_can_be_joined() -> None:
    one, two = (request([Attributed(span(each, {}), {"a": each})]) for each in (1, 2))
    both = ExportTraceServiceRequest.FromString(one + two)
    assert [each.scope_spans[0].spans[0].name for each in both.resource_spans] == ["span 1", "span 2"]
