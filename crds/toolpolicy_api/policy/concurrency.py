"""`concurrency` of a tool and of a server."""

from typing import Annotated

from pydantic import ConfigDict, Field

from toolpolicy_api.policy.model import Duration, Model, cel


class Adaptive(Model):
    """The limit is found from how long calls take, between this `min` and the `max` beside it."""

    min: Annotated[int, Field(description="The limit never falls below.", ge=1, le=100_000)]


class Concurrency(Model):
    """How many calls may be in flight at once, in each pod, and how many more may wait for their turn."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.adaptive) || self.adaptive.min <= self.max",
                "adaptive.min is larger than max; lower it or raise max",
            ),
        )
    )

    max: Annotated[int, Field(description="Calls in flight at once.", ge=1, le=100_000)]
    adaptive: Annotated[
        Adaptive | None,
        Field(description="Find the limit, instead of keeping it at max. Default: it is max."),
    ] = None
    queue: Annotated[
        int | None,
        Field(
            description="Calls that wait for a slot, first come first served. Default 0.", ge=0, le=100_000
        ),
    ] = None
    queue_timeout: Annotated[
        Duration | None,
        Field(description="A call waits no longer than this. Default: as long as timeout.total allows."),
    ] = None
