"""What a call leaves behind for its trace: plain data, written as it happens. Spans are made of it later, if at all."""

from collections.abc import Callable
from contextvars import ContextVar

import msgspec
from msgspec.structs import replace

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.call import TRACEPARENT
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.telemetry.trace_context import (
    SPAN_ID,
    TRACESTATE,
    Lineage,
    with_parent,
)
from toolpolicy_sidecar.upstream.exchange import Request

OURS = frozenset({TRACEPARENT, TRACESTATE})
_LINE = f"\r\n{TRACEPARENT.decode()}: "
"""What a traceparent stands behind."""


CONTENT_BYTES = 4096
"""A longer message is not kept: what waits to be exported is bounded."""


class Content(msgspec.Struct, gc=False):
    """What the tool was sent and what the agent was told, after redaction; only of a direction that is redacted."""

    of_request: bool
    of_answer: bool
    request: bytes | None = None
    answer: bytes | None = None

    def sent(self, body: object) -> None:
        if self.of_request and isinstance(body, bytes) and len(body) <= CONTENT_BYTES:
            self.request = body

    def told(self, message: bytes) -> None:
        if self.of_answer and len(message) <= CONTENT_BYTES:
            self.answer = message


class AttemptTrace(msgspec.Struct, frozen=True, gc=False):
    """One that is over. `began`, `ended`: monotonic seconds. `status` 0: no answer began. `beside`: the second of a
    hedge; `dropped`: the one of two whose answer did not count. `line`: with the traceparent that it sent."""

    line: bytes
    began: float
    ended: float
    status: int = 0
    reason: Reason | None = None
    error: str | None = None
    beside: bool = False
    dropped: bool = False

    @property
    def span_id(self) -> str:
        return parent_in(self.line)[SPAN_ID].decode()


class CallTrace(msgspec.Struct, gc=False):
    """Made for every call, kept or not: it costs identifiers and times. Nothing in it leads back to it. Few of its
    fields are set as a call goes on, which costs more than to make it with them."""

    trace_id: str
    """32 hexadecimal digits."""
    first: bytes
    """The line of the first attempt."""
    sampled: bool
    new_span: Callable[[], str]
    lineage: Lineage
    began_here: bool = False
    """It is a trace of this call alone, as far as the sidecar knows."""
    plain: bool = True
    """The tool's request gets one more header, and nothing of it changes."""
    outer: "CallTrace | None" = None
    """Of the call in the middle of which this one is made, as a fallback."""
    content: Content | None = None
    attempts: tuple[AttemptTrace, ...] = ()
    """Those that are over."""
    transitions: tuple[Transition, ...] = ()
    _span_id: str = ""

    @property
    def span_id(self) -> str:
        """Of the call's own span. Made when it is first asked for: most calls are not kept."""
        if not self._span_id:
            self._span_id = self.new_span()
        return self._span_id

    def another(self) -> bytes:
        """The line of an attempt that is not the first one."""
        return line(self.trace_id, self.new_span(), self.sampled)

    def carried(self, request: Request, by: bytes) -> Request:
        """The request as the attempt with this line sends it, but for the line."""
        if self.plain:
            return request
        headers, body = request.headers, request.body
        if self.content is not None:
            self.content.sent(body)
        headers = tuple([header for header in headers if header[0].lower() not in OURS])
        lineage = self.lineage
        if lineage.parent is not None and lineage.parent.state:
            headers = ((TRACESTATE, lineage.parent.state.encode()), *headers)
        if lineage.in_meta and isinstance(body, bytes):
            body = with_parent(body, parent_in(by))
        return replace(request, headers=headers, body=body)


def line(trace_id: str, span_id: str, sampled: bool) -> bytes:  # noqa: FBT001 -- a flag on the wire
    """For an attempt with this span."""
    return f"{_LINE}00-{trace_id}-{span_id}-{'01' if sampled else '00'}".encode()


def parent_in(line: bytes) -> bytes:
    """The traceparent."""
    return line[len(_LINE) :]


ACTIVE: ContextVar[CallTrace | None] = ContextVar("toolpolicy_call_trace", default=None)
"""Of the call that the code is busy with: circuits change in the middle of one, and know nothing of it."""
