"""`circuitBreaker` of a tool."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from toolpolicy_api.policy.model import Duration, Model, cel

Percent = Annotated[int, Field(ge=1, le=100)]


class FailureRate(Model):
    """Opens the circuit when this share of recent calls failed."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.window) != has(self.calls)", "set window (time) or calls (count), one of the two"),
            (
                "!has(self.calls) || !has(self.minimumCalls) || self.minimumCalls <= self.calls",
                "minimumCalls is larger than calls, so the rate would never be evaluated",
            ),
        )
    )

    percent: Annotated[Percent, Field(description="Opens at this share of failures or above.")]
    window: Annotated[Duration | None, Field(description="Look back this long.")] = None
    # The largest window that leaves a tool's state below 4 KiB in a sidecar (bench/breaker.py).
    calls: Annotated[int | None, Field(description="Look back this many calls.", ge=1, le=8_000)] = None
    minimum_calls: Annotated[
        int | None, Field(description="Below this many calls, decide nothing. Default 10.", ge=1, le=8_000)
    ] = None


class SlowCall(Model):
    """Opens the circuit when this share of recent calls was slow. The window and minimumCalls are those of
    failureRate, or the last 20 calls from the tenth on."""

    over: Annotated[Duration, Field(description="A call that takes longer is slow.")]
    percent: Annotated[Percent, Field(description="Opens at this share of slow calls or above.")]


class CircuitBreaker(Model):
    """When to stop calling a tool that fails, and when to try it again."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.maxOpenFor) || !has(self.openFor)"  # noqa: ISC004 -- one rule over two lines
                " || duration(self.openFor) <= duration(self.maxOpenFor)",
                "openFor is longer than maxOpenFor; shorten openFor or lengthen maxOpenFor",
            ),
        )
    )

    mode: Annotated[
        Literal["Auto", "ForcedOpen", "ForcedClosed", "Observe"] | None,
        Field(description="Auto trips by itself. Observe records what it would do. Default Auto."),
    ] = None
    consecutive_failures: Annotated[
        int | None,
        Field(
            description="Opens after this many failures in a row. Default 5, unless failureRate is set.",
            ge=1,
            le=1000,
        ),
    ] = None
    failure_rate: FailureRate | None = None
    slow_call: SlowCall | None = None
    open_for: Annotated[Duration | None, Field(description="Refuse calls this long. Default 30s.")] = None
    max_open_for: Annotated[
        Duration | None,
        Field(
            description="Doubles openFor each time the circuit opens again, up to this. Default: no growth."
        ),
    ] = None
    half_open_calls: Annotated[
        int | None,
        Field(description="Probes let through, and needed, to close again. Default 1.", ge=1, le=100),
    ] = None
    count_tool_errors: Annotated[
        bool | None, Field(description="Count an MCP result with isError as a failure. Default false.")
    ] = None
    throttle_counts_as_failure: Annotated[
        bool | None, Field(description="Count a 429 as a failure. Default false.")
    ] = None
