"""What a call leaves behind for its trace: plain data, written as it happens. Spans are made of it later, if at all."""

from collections.abc import Callable
from contextvars import ContextVar

from msgspec.structs import replace

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.classify import Class
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.telemetry.trace_context import (
    TRACEPARENT,
    TRACESTATE,
    Lineage,
    traceparent,
    with_parent,
)
from toolpolicy_sidecar.upstream.exchange import Request

OURS = frozenset({TRACEPARENT, TRACESTATE})


CONTENT_BYTES = 4096
"""A longer message is not kept: what waits to be exported is bounded."""


class Content:
    """What the tool was sent and what the agent was told, after redaction; only of a direction that is redacted."""

    __slots__ = ("answer", "of_answer", "of_request", "request")

    def __init__(self, *, of_request: bool, of_answer: bool) -> None:
        self.of_request, self.of_answer = of_request, of_answer
        self.request: bytes | None = None
        self.answer: bytes | None = None


class AttemptTrace:
    """`began`, `ended`: monotonic seconds. `status` 0: no answer began. `beside`: the second of a hedge; `dropped`: the
    one of two whose answer did not count."""

    __slots__ = ("began", "beside", "dropped", "ended", "error", "reason", "span_id", "status")

    def __init__(self, span_id: str, began: float, *, beside: bool = False) -> None:
        self.span_id, self.began, self.beside = span_id, began, beside
        self.ended: float | None = None
        self.status = 0
        self.reason: Reason | None = None
        self.error: str | None = None
        self.dropped = False


class CallTrace:
    """`outer`: of the call in the middle of which this one is made, as a fallback."""

    __slots__ = (
        "_current",
        "_new_id",
        "_other",
        "_replaces",
        "_span_id",
        "attempts",
        "content",
        "lineage",
        "outer",
        "sampled",
        "trace_id",
        "transitions",
    )

    def __init__(
        self,
        lineage: Lineage,
        trace_id: str,
        *,
        sampled: bool,
        new_id: Callable[[], str],
        replaces: bool = True,
        outer: "CallTrace | None" = None,
    ) -> None:
        """`new_id` makes span ids. `replaces`: the call has headers in whose place ours are sent."""
        self.outer, self._replaces = outer, replaces
        self.content: Content | None = None
        self.lineage, self.trace_id, self.sampled, self._new_id = lineage, trace_id, sampled, new_id
        self._span_id: str | None = None
        self.attempts: list[AttemptTrace] = []
        self.transitions: list[Transition] = []
        self._current: AttemptTrace | None = None
        self._other: AttemptTrace | None = None

    @property
    def began_here(self) -> bool:
        """It is a trace of this call alone, as far as the sidecar knows."""
        return self.outer is None and self.lineage.known_as is None

    @property
    def span_id(self) -> str:
        """Of the call's own span. Made when it is first asked for: most calls are not kept."""
        if self._span_id is None:
            self._span_id = self._new_id()
        return self._span_id

    def attempt(self, now: float) -> None:
        self._current = self._made(now)

    def hedge(self, now: float) -> None:
        """A second attempt beside the current one."""
        self._other = self._made(now, beside=True)

    def won(self) -> None:
        """The second one is the one that counts."""
        self._current, self._other = self._other, self._current

    def heard(self, status: int) -> None:
        if self._current is not None:
            self._current.status = status

    def ended(self, now: float, result: Class, error: str | None) -> None:
        """Of the current attempt, and of the one beside it."""
        if self._current is not None:
            self._current.ended, self._current.reason, self._current.error = now, result.reason, error
        if self._other is not None:
            self._other.ended, self._other.dropped = now, True
        self._current = self._other = None

    def told(self, message: bytes) -> None:
        """The agent, redacted, if anything is to be."""
        content = self.content
        if content is not None and content.of_answer and len(message) <= CONTENT_BYTES:
            content.answer = message

    def carried(self, request: Request) -> Request:
        """The request as the last attempt sends it: the tool's spans become children of that attempt's."""
        parent = traceparent(self.trace_id, self.attempts[-1].span_id, sampled=self.sampled)
        lineage, body, content = self.lineage, request.body, self.content
        if (
            content is not None
            and content.of_request
            and isinstance(body, bytes)
            and len(body) <= CONTENT_BYTES
        ):
            content.request = body
        headers = request.headers
        if self._replaces:
            headers = tuple([header for header in headers if header[0].lower() not in OURS])
        if lineage.parent is not None and lineage.parent.state:
            headers = ((TRACESTATE, lineage.parent.state.encode()), *headers)
        if lineage.in_meta and isinstance(body, bytes):
            body = with_parent(body, parent)
        return replace(request, headers=headers, added=(*request.added, (TRACEPARENT, parent)), body=body)

    def _made(self, now: float, *, beside: bool = False) -> AttemptTrace:
        made = AttemptTrace(self._new_id(), now, beside=beside)
        self.attempts.append(made)
        return made


ACTIVE: ContextVar[CallTrace | None] = ContextVar("toolpolicy_call_trace", default=None)
"""Of the call that the code is busy with: circuits change in the middle of one, and know nothing of it."""
