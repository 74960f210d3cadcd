"""What is known about a call when it is over. Metrics, log and status are made of nothing else.

Names come from the policy, never from the caller, so that no caller can make labels. Values of
arguments and results never get here.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.reasons import CallOutcome, Reason, Would
from toolpolicy_sidecar.resilience.retry import Ended

Fallback = Literal["Message", "Static", "Cached", "Tool"]
"""What stood in for the answer that a tool did not give."""

FallbackMissed = Literal["SchemaMismatch", "NotCached", "NoSuchTool", "NotMapped", "NoTimeLeft", "ToolFailed"]
"""Why it could not: it does not satisfy the tool's outputSchema; no good answer to the same call is kept; the other
tool is not there, cannot be given what it needs, would come too late, or failed itself."""

HedgeResult = Literal["Won", "Lost"]
"""Of a second attempt beside a late first one: did the agent get its answer?"""

NO_HITS: Mapping[str, int] = {}
"""One for all: nobody changes what was found."""

Milliseconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Hits = Mapping[str, Annotated[int, Meta(ge=1)]]


class CallRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One call of one tool, recorded exactly once, after the last byte of the answer.

    It is published as it is (see call_line.py): what is not there was not. No reason, no retry, nothing redacted."""

    policy: Annotated[str, Meta(description="namespace/name of the ToolPolicy")]
    server: Annotated[str, Meta(description="The policy's name for the tool's server")]
    tool: Annotated[str, Meta(description="The policy's name for the tool; * when it is not listed")]
    protocol: Annotated[Literal["HTTP", "MCP"], Meta(description="How the tool is called")]
    outcome: Annotated[
        CallOutcome, Meta(description="failure and refused are errors; neutral says nothing about the tool")
    ]
    status: Annotated[int, Meta(description="The agent's HTTP status; 499 when it hung up")]
    started_at_ms: Annotated[int, Meta(description="When the call arrived, Unix milliseconds")]
    duration_ms: Annotated[Milliseconds, Meta(description="From its arrival to the end of its answer")]
    reason: Annotated[
        Reason | None, Meta(description="Why it was refused or failed; docs/answers.md has them")
    ] = None
    error: Annotated[str | None, Meta(description="One line on what went wrong, free of values")] = None
    queued_ms: Annotated[
        Milliseconds | None, Meta(description="Of the duration: waiting for the slots that it got")
    ] = None
    upstream_ms: Annotated[
        Milliseconds | None, Meta(description="From the first attempt to the end of the last one")
    ] = None
    attempts: Annotated[Count, Meta(description="How often the tool was tried")] = 0
    retries: Annotated[
        tuple[Reason, ...], Meta(description="Of each further attempt, why the one before it had failed")
    ] = ()
    retry_ended: Annotated[Ended | None, Meta(description="Why a failure was not tried again")] = None
    hedge: Annotated[HedgeResult | None, Meta(description="Of a second attempt beside a late first one")] = (
        None
    )
    fallback: Annotated[Fallback | None, Meta(description="What stood in for the tool's answer")] = None
    """The outcome is the tool's all the same."""
    fallback_missed: Annotated[FallbackMissed | None, Meta(description="Why it could not")] = None
    stands_for: Annotated[
        str | None, Meta(description="The sidecar made this call as the fallback of that tool")
    ] = None
    argument_keys: Annotated[tuple[str, ...], Meta(description="Names of arguments, never values")] = ()
    """MCP: names in `arguments`; HTTP: names in the query. At most 32; `?` for what looks like no name."""
    request_bytes: Annotated[Count, Meta(description="Of the request's body")] = 0
    response_bytes: Annotated[Count, Meta(description="Of the answer's body, as the agent got it")] = 0
    redacted_request: Annotated[Hits, Meta(description="Detector or pattern: texts taken out")] = {}
    redacted_response: Annotated[Hits, Meta(description="The same of the answer")] = {}
    shadow: Annotated[
        tuple[Reason | Would, ...],
        Meta(description="What Enforce would have done with a call that passed"),
    ] = ()
    """Of a policy in mode Shadow, or by a circuit breaker in mode Observe. In order, each once."""
    shadow_redacted_request: Annotated[Hits, Meta(description="What Enforce would have taken out")] = {}
    shadow_redacted_response: Annotated[Hits, Meta(description="The same of the answer")] = {}
    session: Annotated[
        str | None, Meta(description="12 hexadecimal digits that tell sessions apart; not the session's id")
    ] = None
    user: Annotated[str | None, Meta(description="As the call says; unproven")] = None
    agent: Annotated[str | None, Meta(description="As the call says, else the pod's agent; unproven")] = None
    trace_id: Annotated[str | None, Meta(description="32 hexadecimal digits")] = None
    own_trace: Annotated[bool, Meta(description="The trace began here: the call came without one")] = False
    traced: Annotated[bool, Meta(description="Its spans leave, unless their queue is full")] = False


class RefusedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was refused before it belonged to any tool: no policy name can be given."""

    reason: Reason
    status: int
    error: str | None = None
    destination: str | None = None
    """host:port, where a forward proxy was asked for it: a log field, never a label."""


class RedactedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken out of an answer or event of a server that belongs to no call of a tool."""

    policy: str
    server: str
    hits: Mapping[str, int]


class EgressRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What passed unread: to a host that no policy names, or in a WebSocket. The handshake of one to a policy's server
    is a call of its own."""

    via: Literal["Request", "Tunnel", "WebSocket"]
    destination: str
    """host:port: a log field, never a label."""
    status: int
    duration_ms: float
    sent_bytes: int
    """To the destination: of body, or through the tunnel."""
    received_bytes: int
    error: str | None = None
    """How a tunnel ended, unless one side closed it."""
    server: str | None = None
    """Of a WebSocket, the policy's name for its server, if one names it."""


class Recorder(Protocol):
    """Called on the event loop, from the hot path: must not block and must not raise."""

    def call(self, record: CallRecord) -> None: ...
    def refused(self, record: RefusedRequest) -> None: ...
    def redacted(self, record: RedactedMessage) -> None: ...
    def egress(self, record: EgressRecord) -> None: ...
    def transition(self, transition: Transition) -> None: ...
