"""Begins and ends the trace of every call. A call that is not kept costs identifiers and a few lists."""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.call import TRACEPARENT, ToolCall
from toolpolicy_sidecar.reasons import FAILED
from toolpolicy_sidecar.record import CallRecord
from toolpolicy_sidecar.telemetry.call_trace import ACTIVE, CallTrace, Content, line
from toolpolicy_sidecar.telemetry.outbox import Outbox
from toolpolicy_sidecar.telemetry.sampling import Sampler
from toolpolicy_sidecar.telemetry.trace_context import (
    NOWHERE,
    TRACESTATE,
    Lineage,
    TraceContext,
    in_message,
    lineage,
)
from toolpolicy_sidecar.upstream import origin as upstream

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
_WORD_BYTES = 8
"""A span's id is one, a trace's two: of these the second decides what is sampled."""
_ZEROS = "00" * _WORD_BYTES
AT_ONCE = 32
"""Traces that are begun in one go: what it takes to begin one is not in the caches between two calls."""
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
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`trace_id_header`: where a trace id may stand by itself, for callers that do not know W3C's headers.
        `redacted_content`: arguments and results of MCP tools are kept, where a policy redacts them."""
        self._redacted_content = redacted_content
        self._sampler, self._outbox = sampler, outbox
        self._header = trace_id_header.lower().encode() if trace_id_header else None
        self._random_bytes = random_bytes
        self._last_sampled = f"{sampler.below - 1:016x}" if sampler.below else ""
        """Of the words that decide, as they are written."""
        self._fresh: list[CallTrace] = []
        """Of calls to come."""

    def begin(self, call: ToolCall) -> CallTrace:
        noted, mcp = call.incoming.noted, call.mcp
        if (
            TRACEPARENT in noted
            or self._header
            or call.stands_for
            or (mcp is not None and mcp.meta is not None and in_message(mcp))
        ):
            trace = self._continued(call, lineage(call, self._header))
        else:
            fresh = self._fresh
            if not fresh:
                self._begin_some(fresh)
            trace = fresh.pop()
            if TRACESTATE in noted:
                trace.plain = False
        if self._redacted_content and mcp is not None:
            tool, trace.plain = call.tool, False
            trace.content = Content(tool.on_request is not None, tool.on_response is not None)
        ACTIVE.set(trace)
        return trace

    def _begin_some(self, fresh: list[CallTrace]) -> None:
        """Of calls that nobody traces yet."""
        new_span, last_sampled = self._new_span, self._last_sampled
        words = iter(self._words(3 * AT_ONCE))
        for span_id, upper, lower in zip(words, words, words, strict=True):
            trace_id, sampled = upper + lower, lower <= last_sampled
            first = line(trace_id, span_id, sampled)
            fresh.append(CallTrace(trace_id, first, sampled, new_span, NOWHERE, True))  # noqa: FBT003 -- it began here

    def _continued(self, call: ToolCall, came_from: Lineage) -> CallTrace:
        span_id, upper, lower = self._words(3)
        trace_id = upper + lower
        outer, began_here = None if call.stands_for is None else ACTIVE.get(), False
        if outer is not None:
            came_from = came_from._replace(parent=_inside(outer), link=None)
            trace_id, sampled = outer.trace_id, outer.sampled
        else:
            parent, known = came_from.parent, came_from.known_as
            trace_id, began_here = known or trace_id, known is None
            sampled = self._sampler.head(trace_id, parent.sampled if parent else None)
        first = line(trace_id, span_id, sampled)
        return CallTrace(
            trace_id, first, sampled, self._new_span, came_from, began_here, plain=False, outer=outer
        )

    def _words(self, number: int) -> list[str]:
        """As hexadecimal digits. None is zero, which means no trace and no span."""
        while True:
            words = self._random_bytes(number * _WORD_BYTES).hex("-", _WORD_BYTES).split("-")
            if _ZEROS not in words:
                return words

    def _new_span(self) -> str:
        (span_id,) = self._words(1)
        return span_id

    def end(self, trace: CallTrace, call: ToolCall, record: CallRecord) -> None:
        """What follows in this context belongs to the call around this one; where there is none, to the next one."""
        if trace.outer is not None:
            ACTIVE.set(trace.outer)
        if record.traced:
            urgent = record.outcome in FAILED or call.stands_for is not None
            self._outbox.put(_finished(trace, call, record), 1 + len(trace.attempts), urgent=urgent)

    def transition(self, transition: Transition) -> None:
        """Belongs to the call that brought it about; one that time or a person brought about to none."""
        trace = ACTIVE.get()
        if trace is not None:
            trace.transitions += (transition,)


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
