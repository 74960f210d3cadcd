"""`slo` of a tool."""

from typing import Annotated

from pydantic import ConfigDict, Field

from toolpolicy_api import duration
from toolpolicy_api.channel import LATENCY_BOUNDS_MS
from toolpolicy_api.policy.model import Duration, Model, cel

LATENCY_TARGETS = tuple(duration.render(bound) for bound in LATENCY_BOUNDS_MS)
"""Sidecars count latencies in these buckets: calls beyond any other bound are not known."""


class SloLatency(Model):
    """95 % of the calls that reach the tool are answered within this."""

    p95: Annotated[
        Duration,
        Field(
            description=f"One of {', '.join(LATENCY_TARGETS)}.",
            json_schema_extra=cel(
                ("duration(self) > duration('0s')", "must be longer than zero"),
                (
                    "duration(self) in ["
                    + ", ".join(f"duration('{text}')" for text in LATENCY_TARGETS)
                    + "]",
                    f"must be one of {', '.join(LATENCY_TARGETS)}",
                ),
            ),
        ),
    ]


class Slo(Model):
    """What the tool's calls should be like over a long time. Nothing happens to calls: the status tells how much of
    what may go wrong is left (the error budget)."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.availability) || has(self.latency)", "set availability, latency or both")
        )
    )

    availability: Annotated[
        float | None,
        Field(description="Percent of calls that do not fail and are not refused.", ge=95, le=99.99),
    ] = None
    latency: SloLatency | None = None
    window: Annotated[
        str,
        Field(
            description="Days that are looked back: 1d to 90d. Default 30d.",
            pattern=r"^([1-9]|[1-8][0-9]|90)d$",
            max_length=3,
        ),
    ] = "30d"


SLO_TOOLS = 64
"""The operator keeps their counts in a ConfigMap, which has an end."""
