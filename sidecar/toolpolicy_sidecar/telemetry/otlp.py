"""Spans as OTLP, by the SDK's encoder; but attributes that are the same in span after span are encoded once.

Protobuf lets the fields of a message stand one after another as they were made: a span is what the encoder makes of it
without them, and then a piece for each of them."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

_RESOURCE_SPANS, _SCOPE_SPANS, _SPANS = 1, 2, 2
"""Numbers of fields: of a request, of its resource, of its scope."""
_LENGTH_AND_BYTES = 2
_NOWHERE = SpanContext(0, 0, is_remote=False)
_REMEMBERED = 1024

Value = str | int | float | bool | tuple[str, ...]


class Attributed(NamedTuple):
    """`attributes` are remembered, in the number of what there is of them: what is only one call's, or a secret of it,
    stays with `span`."""

    span: ReadableSpan
    attributes: dict[str, Value]


def request(spans: Iterable[Attributed]) -> bytes:
    """An ExportTraceServiceRequest. All spans have one resource and one scope."""
    spans = list(spans)
    made = encode_spans([each.span for each in spans])
    (resource,) = made.resource_spans
    (scope,) = resource.scope_spans
    pieces = []
    for span, (_, attributes) in zip(scope.spans, spans, strict=True):
        own = span.SerializeToString()
        pieces.append(_field(_SPANS, own + b"".join(map(_attribute, attributes, attributes.values()))))
    scope.ClearField("spans")
    around = scope.SerializeToString()
    resource.ClearField("scope_spans")
    inner = _field(_SCOPE_SPANS, around + b"".join(pieces))
    return _field(_RESOURCE_SPANS, resource.SerializeToString() + inner)


@lru_cache(maxsize=_REMEMBERED, typed=True)
def _attribute(name: str, value: Value) -> bytes:
    """As a field of a span."""
    made = encode_spans([ReadableSpan("", _NOWHERE, attributes={name: value})])
    (span,) = made.resource_spans[0].scope_spans[0].spans
    piece: bytes = Span(attributes=span.attributes).SerializeToString()
    return piece


def _field(number: int, data: bytes) -> bytes:
    """Of a message, with the message or bytes that it holds."""
    head, left = bytearray((number << 3 | _LENGTH_AND_BYTES,)), len(data)
    while left > 0x7F:
        head.append(left & 0x7F | 0x80)
        left >>= 7
    head.append(left)
    return bytes(head) + data
