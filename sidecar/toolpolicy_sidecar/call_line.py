"""The record of a call as it is published: the fields of a log line and of an OTLP log record, by a versioned schema.

docs/schemas/call.v1.json is made of this. Adding a field keeps the version; to take one away or to change what it means
makes a new one."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from toolpolicy_sidecar.pod import Pod
from toolpolicy_sidecar.reasons import CallOutcome, Reason
from toolpolicy_sidecar.record import CallRecord, Fallback, FallbackMissed, HedgeResult
from toolpolicy_sidecar.resilience.retry import Ended

SCHEMA = "call/v1"

Milliseconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Hits = dict[str, Annotated[int, Meta(ge=1)]]


class CallLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call of one tool. What is not there was not: no reason, no retry, nothing redacted."""

    schema: Annotated[str, Meta(description="Of this record: " + SCHEMA)]
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
    queued_ms: Annotated[Milliseconds | None, Meta(description="Of the duration: waiting for a slot")] = None
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
    fallback_missed: Annotated[FallbackMissed | None, Meta(description="Why it could not")] = None
    stands_for: Annotated[
        str | None, Meta(description="The sidecar made this call as the fallback of that tool")
    ] = None
    argument_keys: Annotated[tuple[str, ...], Meta(description="Names of arguments, never values")] = ()
    request_bytes: Annotated[Count, Meta(description="Of the request's body")] = 0
    response_bytes: Annotated[Count, Meta(description="Of the answer's body, as the agent got it")] = 0
    redacted_request: Annotated[Hits, Meta(description="Detector or pattern: texts taken out")] = {}
    redacted_response: Annotated[Hits, Meta(description="The same of the answer")] = {}
    shadow: Annotated[
        tuple[str, ...], Meta(description="What Enforce would have done with a call that passed")
    ] = ()
    shadow_redacted_request: Annotated[Hits, Meta(description="What Enforce would have taken out")] = {}
    shadow_redacted_response: Annotated[Hits, Meta(description="The same of the answer")] = {}
    session: Annotated[
        str | None, Meta(description="12 hexadecimal digits that tell sessions apart; not the session's id")
    ] = None
    user: Annotated[str | None, Meta(description="As the call says; unproven")] = None
    agent: Annotated[str | None, Meta(description="As the call says, else the pod's agent; unproven")] = None
    service_account: Annotated[str | None, Meta(description="Of the agent's pod")] = None
    trace_id: Annotated[str | None, Meta(description="32 hexadecimal digits")] = None


def line(record: CallRecord, pod: Pod) -> CallLine:
    return CallLine(
        schema=SCHEMA,
        policy=record.policy,
        server=record.server,
        tool=record.tool,
        protocol=record.protocol,
        outcome=record.outcome,
        status=record.status,
        started_at_ms=record.started_at_ms,
        duration_ms=round(record.duration_ms, 2),
        reason=record.reason,
        error=record.error,
        queued_ms=round(record.queued_ms, 2) if record.queued_ms else None,
        upstream_ms=None if record.upstream_ms is None else round(record.upstream_ms, 2),
        attempts=record.attempts,
        retries=record.retries,
        retry_ended=record.retry_ended,
        hedge=record.hedge,
        fallback=record.fallback,
        fallback_missed=record.fallback_missed,
        stands_for=record.stands_for,
        argument_keys=record.argument_keys,
        request_bytes=record.request_bytes,
        response_bytes=record.response_bytes,
        redacted_request=dict(record.redacted_request),
        redacted_response=dict(record.redacted_response),
        shadow=tuple(str(decision) for decision in record.shadow),
        shadow_redacted_request=dict(record.shadow_redacted_request),
        shadow_redacted_response=dict(record.shadow_redacted_response),
        session=record.session,
        user=record.user,
        agent=record.agent or pod.agent,
        service_account=pod.service_account,
        trace_id=record.trace_id,
    )
