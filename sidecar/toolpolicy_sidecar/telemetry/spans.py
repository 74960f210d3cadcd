"""A finished call as OpenTelemetry spans, in the names of its conventions for GenAI and MCP (status Development, so
they are written down here). The only module that loads the SDK for traces; docs/traces.md describes what it makes."""

from collections.abc import Iterator, Mapping, Sequence

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from toolpolicy_api.clean import clean
from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.reasons import FAILED, Reason
from toolpolicy_sidecar.record import CallRecord
from toolpolicy_sidecar.telemetry import otlp
from toolpolicy_sidecar.telemetry.call_trace import AttemptTrace
from toolpolicy_sidecar.telemetry.otlp import Attributed, Value
from toolpolicy_sidecar.telemetry.trace_context import SAMPLED, TraceContext
from toolpolicy_sidecar.telemetry.tracer import Finished

Attributes = dict[str, Value]

_TOOL_ERROR = "tool_error"
"""What the conventions call a result with `isError`."""


class Ours(Resource):
    """There is one, which all spans and records share: it is itself, and need not be put into words to be compared."""

    __hash__ = object.__hash__


class SpanCodec:
    def __init__(self, resource: Mapping[str, str], version: str) -> None:
        self._resource = Ours({"service.version": version, **resource})
        self._scope = InstrumentationScope("toolpolicy", version)

    def encode(self, items: Sequence[Finished]) -> bytes:
        return otlp.request(span for item in items for span in self.spans(item))

    def rejected(self, answer: bytes) -> int:
        response = ExportTraceServiceResponse()
        try:
            response.ParseFromString(answer)
        except (
            ValueError
        ):  # protobuf's DecodeError: a receiver that answers in words has taken them all the same
            return 0
        return int(response.partial_success.rejected_spans)

    def spans(self, of: Finished) -> Iterator[Attributed]:
        """The call's own, then one for each attempt."""
        trace, record = of.trace, of.record
        parent, link = trace.lineage.parent, trace.lineage.link
        span = ReadableSpan(
            name=_name(record),
            context=self._context(of, trace.span_id),
            parent=None if parent is None else _remote(parent),
            resource=self._resource,
            instrumentation_scope=self._scope,
            kind=SpanKind.SERVER,
            events=sorted(_events(of), key=lambda event: event.timestamp),
            links=() if link is None else (Link(_remote(link)),),
            status=_status(record.reason, record.error, bad=record.outcome in FAILED),
            start_time=_nanoseconds(of, of.arrived),
            end_time=_nanoseconds(of, of.arrived + record.duration_ms / 1000),
            attributes=_of_this_call(of),
        )
        yield Attributed(span, _of_call(of))
        for number, attempt in enumerate(trace.attempts):
            yield self._attempt(of, number, attempt)

    def _attempt(self, of: Finished, number: int, attempt: AttemptTrace) -> Attributed:
        record = of.record
        reason = attempt.reason
        if reason is None and not attempt.dropped and record.reason is Reason.ClientGone:
            reason = Reason.ClientGone
        bad = reason is not None and reason not in {Reason.ClientGone, Reason.ClientError}
        span = ReadableSpan(
            name=_name(record) if record.protocol == "MCP" else of.method,
            context=self._context(of, attempt.span_id),
            parent=self._context(of, of.trace.span_id),
            resource=self._resource,
            instrumentation_scope=self._scope,
            kind=SpanKind.CLIENT,
            status=_status(reason, attempt.error, bad=bad),
            start_time=_nanoseconds(of, attempt.began),
            end_time=_nanoseconds(of, attempt.ended),
        )
        return Attributed(span, _of_attempt(of, number, attempt, reason))

    def _context(self, of: Finished, span_id: str) -> SpanContext:
        parent = of.trace.lineage.parent
        state = _state(parent.state) if parent else None
        # Kept, whatever the head of the trace had said.
        return SpanContext(int(of.trace.trace_id, 16), int(span_id, 16), False, TraceFlags(SAMPLED), state)  # noqa: FBT003 -- is_remote


def _remote(context: TraceContext) -> SpanContext:
    flags = TraceFlags(SAMPLED if context.sampled else 0)
    ids = int(context.trace_id, 16), int(context.span_id, 16)
    return SpanContext(*ids, True, flags, _state(context.state))  # noqa: FBT003 -- is_remote


def _state(text: str) -> TraceState:
    """Passed on as it came; in a span it is the caller's text like any other."""
    return TraceState.from_header([text]) if text and clean(text) == text else TraceState()


def _nanoseconds(of: Finished, moment: float) -> int:
    """Since 1970."""
    return of.record.started_at_ms * 1_000_000 + round((moment - of.arrived) * 1e9)


def _name(record: CallRecord) -> str:
    """By the policy's name of the tool, as in metrics and records: callers can make no names."""
    method = "tools/call" if record.protocol == "MCP" else "execute_tool"
    return method if record.tool == "*" else f"{method} {record.tool}"


def _status(reason: Reason | None, error: str | None, *, bad: bool) -> Status:
    if not bad:
        return Status(StatusCode.UNSET)
    return Status(StatusCode.ERROR, f"{reason}: {error}" if error else str(reason))


def _error_type(reason: Reason) -> str:
    return _TOOL_ERROR if reason is Reason.ToolError else reason.value


def _of_both(of: Finished) -> Attributes:
    record = of.record
    attributes: Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": record.tool,
        "toolpolicy.policy": record.policy,
        "toolpolicy.server": record.server,
        "network.protocol.name": "http",
        "network.transport": "tcp",
    }
    if record.protocol == "MCP":
        attributes["mcp.method.name"] = "tools/call"
        if of.protocol_version:
            attributes["mcp.protocol.version"] = of.protocol_version
    return attributes


def _of_call(of: Finished) -> Attributes:
    record = of.record
    attributes = _of_both(of) | {
        "http.request.method": of.method,
        "http.response.status_code": record.status,
        "toolpolicy.outcome": record.outcome,
        "toolpolicy.attempts": record.attempts,
    }
    if not of.trace.sampled:
        attributes["toolpolicy.kept"] = "failed"
    optional = {
        "toolpolicy.reason": record.reason,
        "toolpolicy.stands_for": record.stands_for,
        "toolpolicy.retry_ended": record.retry_ended,
        "mcp.session.id" if record.protocol == "MCP" else "session.id": record.session,
        "user.id": record.user,
        "gen_ai.agent.name": record.agent,
    }
    attributes |= {name: str(value) for name, value in optional.items() if value is not None}
    if record.argument_keys:
        attributes["toolpolicy.argument_keys"] = record.argument_keys
    if record.shadow:
        attributes["toolpolicy.shadow"] = tuple(str(decision) for decision in record.shadow)
    if record.outcome in FAILED and record.reason is not None:
        attributes["error.type"] = _error_type(record.reason)
    return attributes


def _of_this_call(of: Finished) -> Attributes:
    """What hardly another one has. Of its content, which is sensitive, only what was asked for."""
    content, found = of.trace.content, Attributes()
    if of.request_id is not None:
        found["jsonrpc.request.id"] = str(of.request_id)
    if content is None:
        return found
    request = jsonrpc.members_of(content.request or b"") or {}
    params = jsonrpc.members_of(request.get("params", b"")) or {}
    answer = jsonrpc.members_of(content.answer or b"") or {}
    for name, value in (("arguments", params.get("arguments")), ("result", answer.get("result"))):
        if value is not None:
            found[f"gen_ai.tool.call.{name}"] = bytes(value).decode(errors="replace")
    return found


def _of_attempt(of: Finished, number: int, attempt: AttemptTrace, reason: Reason | None) -> Attributes:
    attributes = _of_both(of) | {
        "http.request.method": of.method,
        "server.address": of.server.host,
        "server.port": of.server.port,
        "url.scheme": of.server.scheme,
    }
    if number:
        attributes["http.request.resend_count"] = number
    if attempt.status:
        attributes["http.response.status_code"] = attempt.status
    if attempt.beside:
        attributes["toolpolicy.hedge"] = True
    if attempt.dropped:
        attributes["toolpolicy.dropped"] = True
    if reason is not None:
        attributes["error.type"] = _error_type(reason)
    return attributes


def _events(of: Finished) -> Iterator[Event]:
    """What happened between arrival and answer, besides the attempts."""
    record, attempts = of.record, of.trace.attempts
    ended = of.arrived + record.duration_ms / 1000
    if record.queued_ms:
        queued_s = record.queued_ms / 1000
        had_slot = attempts[0].began if attempts else ended
        yield _event(of, "toolpolicy.queue", had_slot - queued_s, {"toolpolicy.wait_s": queued_s})
    tried = [attempt for attempt in attempts if not attempt.beside]
    for before, after, why in zip(tried, tried[1:], record.retries, strict=False):
        waited: Attributes = {"toolpolicy.wait_s": after.began - before.ended, "toolpolicy.reason": str(why)}
        yield _event(of, "toolpolicy.backoff", before.ended, waited)
    for attempt in attempts:
        if attempt.beside:
            result: Attributes = {"toolpolicy.result": str(record.hedge or "Lost")}
            yield _event(of, "toolpolicy.hedge", attempt.began, result)
    for change in of.trace.transitions:
        fields: Attributes = {
            "toolpolicy.tool": change.key.tool,
            "toolpolicy.before": change.before,
            "toolpolicy.after": change.after,
            "toolpolicy.reason": change.reason,
        }
        yield Event("toolpolicy.circuit", fields, change.at_ms * 1_000_000)
    for direction, hits in (("request", record.redacted_request), ("response", record.redacted_response)):
        if hits:
            counts: Attributes = {
                f"toolpolicy.redacted.{detector}": count for detector, count in hits.items()
            }
            counts["toolpolicy.direction"] = direction
            yield _event(of, "toolpolicy.redaction", of.arrived if direction == "request" else ended, counts)
    if record.fallback is not None:
        result = {
            "toolpolicy.fallback": record.fallback,
            "toolpolicy.result": record.fallback_missed or "Answered",
        }
        yield _event(of, "toolpolicy.fallback", ended, result)


def _event(of: Finished, name: str, moment: float, attributes: Attributes) -> Event:
    return Event(name, attributes, _nanoseconds(of, moment))
