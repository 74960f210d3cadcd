"""What is known about a call when it is over. Metrics, log and status are made of nothing else.

Names come from the policy, never from the caller, so that no caller can make labels. Values of
arguments and results never get here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Protocol

import msgspec

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

NO_HITS: Mapping[str, int] = MappingProxyType({})


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One call of one tool. Recorded exactly once, after the last byte of the answer."""

    policy: str
    """namespace/name"""
    server: str
    tool: str
    """The policy's name for the tool, `*` when it is not listed."""
    protocol: Literal["HTTP", "MCP"]
    outcome: CallOutcome
    reason: Reason | None = None
    """None for a plain success."""
    fallback: Fallback | None = None
    """The agent got this instead, unless it was missed. The outcome is the tool's all the same."""
    fallback_missed: FallbackMissed | None = None
    stands_for: str | None = None
    """This call was made by the sidecar, as the fallback of this tool."""
    status: int
    """What the agent got as HTTP status; 499 when it hung up first."""
    started_at_ms: int
    """Unix milliseconds."""
    duration_ms: float
    """From the call's arrival to the end of its answer."""
    queued_ms: float = 0.0
    """Of that: waiting for the slots (`concurrency`) that it got; 0 when it got none or had not to wait."""
    upstream_ms: float | None = None
    """From the first attempt to the end of the last one; None when nothing was tried."""
    attempts: int = 0
    retries: tuple[Reason, ...] = ()
    """Of each further attempt, why the one before it had failed."""
    retry_ended: Ended | None = None
    """Why a failure was not tried again, where the policy has retries."""
    hedge: HedgeResult | None = None
    """None: there was no second attempt beside the first. It is one of `attempts`."""
    argument_keys: tuple[str, ...] = ()
    """MCP: names in `arguments`; HTTP: names in the query. At most 32; `?` for what looks like no name."""
    request_bytes: int = 0
    response_bytes: int = 0
    redacted_request: Mapping[str, int] = NO_HITS
    """Detector or pattern → hits."""
    redacted_response: Mapping[str, int] = NO_HITS
    shadow: tuple[Reason | Would, ...] = ()
    """What Enforce would have done with a call that passed: of a policy in mode Shadow, or by a circuit breaker in mode
    Observe. In order, each once."""
    shadow_redacted_request: Mapping[str, int] = NO_HITS
    """What would have been taken out."""
    shadow_redacted_response: Mapping[str, int] = NO_HITS
    session: str | None = None
    """12 digits of a hash of its id: a log field, never a label."""
    user: str | None = None
    agent: str | None = None
    """Both as the call says, unproven: log fields, never labels."""
    trace_id: str | None = None
    """32 hexadecimal digits: a log field and an exemplar, never a label."""
    traced: bool = False
    """Its spans leave, unless their queue is full."""
    error: str | None = None
    """One line on what went wrong, free of values."""


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
    """What passed unread: to a host that no policy names, or in a WebSocket to a policy's server, whose handshake is a
    call of its own."""

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
    """Of a WebSocket, the policy's name for its server."""


class Recorder(Protocol):
    """Called on the event loop, from the hot path: must not block and must not raise."""

    def call(self, record: CallRecord) -> None: ...
    def refused(self, record: RefusedRequest) -> None: ...
    def redacted(self, record: RedactedMessage) -> None: ...
    def egress(self, record: EgressRecord) -> None: ...
    def transition(self, transition: Transition) -> None: ...
