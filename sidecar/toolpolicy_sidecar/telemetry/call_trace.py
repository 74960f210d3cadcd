"""What a call leaves behind for its trace: plain data, written as it happens. Spans are made of it later, if at all."""

from collections.abc import Callable
from contextvars import ContextVar

import msgspec

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.call import TRACEPARENT
from toolpolicy_sidecar.classify import Class
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.telemetry.trace_context import (
    TRACESTATE,
    Lineage,
    with_parent,
)
from toolpolicy_sidecar.upstream.exchange import Request

OURS = frozenset({TRACEPARENT, TRACESTATE})


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


class AttemptTrace(msgspec.Struct, gc=False):
    """`began`, `ended`: monotonic seconds. `status` 0: no answer began. `beside`: the second of a hedge; `dropped`: the
    one of two whose answer did not count."""

    span_id: str
    began: float
    beside: bool = False
    ended: float | None = None
    status: int = 0
    reason: Reason | None = None
    error: str | None = None
    dropped: bool = False


class CallTrace(msgspec.Struct, gc=False):
    """Made for every call, kept or not: it costs identifiers and times. Nothing in it leads back to it."""

    trace_id: str
    """32 hexadecimal digits."""
    next_span: str
    """16 of them, for the first one that wants to be known."""
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
    transitions: tuple[Transition, ...] = ()
    _span_id: str = ""
    _current: AttemptTrace | None = None
    _other: AttemptTrace | None = None

    @property
    def span_id(self) -> str:
        """Of the call's own span. Made when it is first asked for: most calls are not kept."""
        if not self._span_id:
            self._span_id = self.new_span()
        return self._span_id

    def attempt(self, now: float, *, beside: bool = False) -> AttemptTrace:
        """`beside` the current one."""
        made = AttemptTrace(self.next_span or self.new_span(), now, beside)
        self.next_span = ""
        self.attempts += (made,)
        if beside:
            self._other = made
        else:
            self._current = made
        return made

    def won(self) -> None:
        """The second one is the one that counts."""
        self._current, self._other = self._other, self._current

    def ended(self, now: float, status: int, result: Class, error: str | None) -> None:
        """Of the current attempt, and of the one beside it. `status` 0: no answer began."""
        current = self._current
        if current is not None:
            current.ended, current.status, current.reason, current.error = now, status, result.reason, error
            self._current = None
        if self._other is not None:
            self._other.ended, self._other.dropped = now, True
            self._other = None

    def carried(self, request: Request, by: AttemptTrace) -> Request:
        """The request as this attempt sends it: the tool's spans become children of that attempt's."""
        parent = f"00-{self.trace_id}-{by.span_id}-{'01' if self.sampled else '00'}".encode()
        headers, body = request.headers, request.body
        if not self.plain:
            if self.content is not None:
                self.content.sent(body)
            headers = tuple([header for header in headers if header[0].lower() not in OURS])
            lineage = self.lineage
            if lineage.parent is not None and lineage.parent.state:
                headers = ((TRACESTATE, lineage.parent.state.encode()), *headers)
            if lineage.in_meta and isinstance(body, bytes):
                body = with_parent(body, parent)
        return Request(
            request.origin,
            request.method,
            request.target,
            headers,
            body,
            request.switch_to,
            request.length,
            (*request.added, (TRACEPARENT, parent)),
        )


ACTIVE: ContextVar[CallTrace | None] = ContextVar("toolpolicy_call_trace", default=None)
"""Of the call that the code is busy with: circuits change in the middle of one, and know nothing of it."""
