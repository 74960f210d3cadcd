"""`status` of a ToolPolicy: what really happens, as seen over all pods.

Written by the operator alone. What it does not know it calls Unknown.
"""

from typing import Annotated, Literal

from pydantic import Field

from toolpolicy_api.policy import Model

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, max_length=40)]
Count = Annotated[int, Field(ge=0)]

ToolState = Literal["Closed", "Open", "HalfOpen", "Disabled", "Mixed", "Unknown"]


class Condition(Model):
    """As metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(max_length=1024)]
    message: Annotated[str, Field(max_length=32768)]
    last_transition_time: Time
    observed_generation: Count | None = None


class Pods(Model):
    """The pods that the selector matches."""

    matched: Annotated[Count, Field(description="Injected pods that the selector matches.")]
    connected: Annotated[Count, Field(description="Of these, sidecars that are connected now.")]
    up_to_date: Annotated[Count, Field(description="Of these, sidecars that confirmed this policy's hash.")]


class CircuitPods(Model):
    """In how many pods the tool's circuit is in which state."""

    closed: Count = 0
    open: Count = 0
    half_open: Count = 0
    disabled: Count = 0
    unknown: Count = 0


class WorstPod(Model):
    """A pod in which the tool does not work."""

    pod: Annotated[str, Field(max_length=253)]
    state: ToolState
    errors: Count = 0
    reason: Annotated[str | None, Field(max_length=1024)] = None


class Override(Model):
    """A switch thrown by hand in one pod, by whom, why, and until when it holds."""

    pod: Annotated[str, Field(max_length=253)]
    action: Annotated[
        Literal["Disable", "ForceClosed"],
        Field(
            description="Disable refuses every call. ForceClosed lets them pass although the circuit is open."
        ),
    ]
    by: Annotated[str | None, Field(description="As the caller said.", max_length=256)] = None
    reason: Annotated[str | None, Field(max_length=1024)] = None
    until: Annotated[Time, Field(description="Then it goes back by itself.")]


class Budget(Model):
    """Of one objective: what may go wrong in its window, and what has. Strings, since they are for people."""

    calls: Count
    bad: Annotated[Count, Field(description="Of these, calls that did not meet the objective.")]
    remaining_percent: Annotated[
        str,
        Field(description="Of the error budget; negative when more went wrong than may.", max_length=16),
    ]
    burn_rate: Annotated[
        str | None,
        Field(
            description="Of the last hour. At 1 the budget lasts just the window, at 14.4 it is gone in"
            " two days of 30. Absent without calls.",
            max_length=16,
        ),
    ] = None


class ToolSlo(Model):
    """How a tool stands to its slo."""

    since: Annotated[Time, Field(description="Counts reach back to here: the window, or less at first.")]
    availability: Budget | None = None
    latency: Budget | None = None


class Tool(Model):
    """One tool over all pods. Counts cover five minutes; `*` is a server's unlisted tools."""

    name: Annotated[str, Field(max_length=128)]
    server: Annotated[str, Field(max_length=40)]
    state: Annotated[ToolState, Field(description="Mixed: pods disagree; see pods.")]
    pods: CircuitPods
    calls: Count = 0
    errors: Count = 0
    error_percent: Annotated[str | None, Field(max_length=8)] = None
    p95_milliseconds: Annotated[
        Count | None, Field(description="Upper bound of the bucket that the 95th percentile falls in.")
    ] = None
    last_transition_time: Time | None = None
    reason: Annotated[str | None, Field(max_length=1024)] = None
    last_error: Annotated[str | None, Field(max_length=1024)] = None
    open_until: Annotated[
        Time | None, Field(description="When the last of the open circuits lets a probe through.")
    ] = None
    worst_pods: Annotated[tuple[WorstPod, ...] | None, Field(max_length=20)] = None
    overrides: Annotated[tuple[Override, ...] | None, Field(max_length=20)] = None
    slo: ToolSlo | None = None


class Finding(Model):
    """What one detector, or pattern of the policy, has found."""

    detector: Annotated[str, Field(max_length=40)]
    direction: Literal["Request", "Response"]
    count: Count


FINDINGS = 20


class Redaction(Model):
    """What redaction has found over all pods in the last five minutes, the most frequent first; never a value."""

    total: Annotated[Count, Field(description="Texts taken out; in mode Shadow, that would have been.")]
    found: Annotated[
        tuple[Finding, ...], Field(description="Of these, by detector and direction.", max_length=FINDINGS)
    ] = ()
    would_find: Annotated[
        tuple[Finding, ...] | None,
        Field(
            description="Besides, what the stricter redaction of spec.redaction.preview would find, in sampled calls.",
            max_length=FINDINGS,
        ),
    ] = None


class Status(Model):
    """The strings `ready`, `open`, `errorPercent` and `reason` are made for columns."""

    observed_generation: Count | None = None
    observed_time: Annotated[
        Time | None,
        Field(description="When this was last written. Older than two minutes: nobody is watching."),
    ] = None
    hash: Annotated[str | None, Field(description="Of the policy's compiled content.", max_length=64)] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    pods: Pods | None = None
    ready: Annotated[str | None, Field(description="Pods up to date / matched.", max_length=32)] = None
    open: Annotated[
        str | None,
        Field(
            description="Tools whose circuit is not closed, with pods, such as search(3/5).", max_length=1024
        ),
    ] = None
    calls: Count | None = None
    error_percent: Annotated[str | None, Field(max_length=8)] = None
    budget: Annotated[
        str | None,
        Field(
            description="The tool with the least error budget, such as search 12% 14.4x: left, and burn rate.",
            max_length=256,
        ),
    ] = None
    reason: Annotated[str | None, Field(description="The most urgent thing to know.", max_length=1024)] = None
    redaction: Annotated[Redaction | None, Field(description="Absent when nothing was found.")] = None
    tools: Annotated[tuple[Tool, ...], Field(max_length=320)] = ()
