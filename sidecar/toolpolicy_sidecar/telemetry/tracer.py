"""Begins and ends the trace of every call. A call that is not kept costs identifiers and a few lists."""

import random
import re
from typing import NamedTuple

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.call import ToolCall
from toolpolicy_sidecar.record import CallRecord
from toolpolicy_sidecar.telemetry.call_trace import ACTIVE, OURS, CallTrace, Content
from toolpolicy_sidecar.telemetry.outbox import Outbox
from toolpolicy_sidecar.telemetry.sampling import Sampler, failed
from toolpolicy_sidecar.telemetry.trace_context import TraceContext, lineage
from toolpolicy_sidecar.upstream import origin as upstream

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
_INTEGER = re.compile(rb"\d{1,18}")


class Finished(NamedTuple):
    """A call that is over, for its spans. Nothing of its arguments or its answer."""

    trace: CallTrace
    record: CallRecord
    method: str
    """HTTP's."""
    server: upstream.Origin
    protocol_version: str | None
    request_id: int | None
    arrived: float
    """Monotonic seconds, as all times of the trace; `record.started_at_ms` is the same moment."""


class Tracer:
    def __init__(
        self,
        sampler: Sampler,
        outbox: Outbox[Finished],
        *,
        trace_id_header: str | None = None,
        redacted_content: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        """`trace_id_header`: where a trace id may stand by itself, for callers that do not know W3C's headers.
        `redacted_content`: arguments and results of MCP tools are kept, where a policy redacts them."""
        self._redacted_content = redacted_content
        self._sampler, self._outbox = sampler, outbox
        self._header = trace_id_header.lower().encode() if trace_id_header else None
        self._rng = rng or random.Random()  # noqa: S311 -- identifiers, not secrets

    def begin(self, call: ToolCall) -> CallTrace:
        came_from, outer = lineage(call, self._header), ACTIVE.get()
        if call.stands_for is not None and outer is not None:
            came_from, sampled = came_from._replace(parent=_inside(outer), link=None), outer.sampled
            trace_id = outer.trace_id
        else:
            parent = came_from.parent
            trace_id = came_from.known_as or self._new_trace()
            sampled = self._sampler.head(trace_id, parent.sampled if parent else None)
        replaces = not OURS.isdisjoint(call.incoming.noted)
        trace = CallTrace(
            came_from, trace_id, sampled=sampled, new_id=self._new_span, replaces=replaces, outer=outer
        )
        if self._redacted_content and call.mcp is not None:
            tool = call.tool
            trace.content = Content(
                of_request=tool.on_request is not None, of_answer=tool.on_response is not None
            )
        ACTIVE.set(trace)
        return trace

    def end(self, trace: CallTrace, call: ToolCall, record: CallRecord) -> None:
        ACTIVE.set(trace.outer)
        if record.traced:
            urgent = failed(record.outcome) or call.stands_for is not None
            self._outbox.put(_finished(trace, call, record), 1 + len(trace.attempts), urgent=urgent)

    def transition(self, transition: Transition) -> None:
        """Belongs to the call that brought it about; one that time or a person brought about to none."""
        trace = ACTIVE.get()
        if trace is not None:
            trace.transitions.append(transition)

    # Never all zeros: those mean none.
    def _new_trace(self) -> str:
        return "%032x" % (self._rng.getrandbits(128) or 1)

    def _new_span(self) -> str:
        return "%016x" % (self._rng.getrandbits(64) or 1)


def _inside(outer: CallTrace) -> TraceContext:
    """A call that the sidecar makes for another one is a part of that one."""
    state = outer.lineage.parent.state if outer.lineage.parent else ""
    return TraceContext(outer.trace_id, outer.span_id, outer.sampled, state)


_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
"""Any other is the caller's own word (OpenTelemetry's conventions for HTTP)."""


def _finished(trace: CallTrace, call: ToolCall, record: CallRecord) -> Finished:
    version, request_id = None, None
    if call.mcp is not None:
        version = call.incoming.text(b"mcp-protocol-version")
        request_id = int(call.mcp.identifier) if _INTEGER.fullmatch(call.mcp.identifier) else None
    return Finished(
        trace,
        record,
        call.incoming.method if call.incoming.method in _METHODS else "_OTHER",
        call.server.place.origin,
        version if version and _VERSION.fullmatch(version) else None,
        request_id,
        call.incoming.arrived,
    )
