"""`retry` of a tool."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from toolpolicy_api.policy.model import Duration, Model, cel


class Backoff(Model):
    """How long to wait before the next attempt: random, from nothing up to a ceiling that doubles each time."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.base) || !has(self.max) || duration(self.base) <= duration(self.max)",
                "base is longer than max; shorten base or lengthen max",
            ),
        )
    )

    base: Annotated[Duration | None, Field(description="The first ceiling. Default 100ms.")] = None
    max: Annotated[
        Duration | None, Field(description="No ceiling is higher. Default 2s, or base if that is longer.")
    ] = None


class Hedge(Model):
    """A second attempt beside a first one that takes longer than 95 % of the tool's calls do: the first good answer
    counts, the other attempt is taken back. {} is enough."""

    not_before: Annotated[
        Duration | None, Field(description="Not before the first attempt has taken this long.")
    ] = None


class Retry(Model):
    """When a failed attempt is made again. Only what was not sent, or may be repeated, ever is."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.hedge) || !has(self.idempotent) || self.idempotent",
                "hedge makes calls twice; set idempotent: true if they may be, or remove hedge",
            ),
            (
                "!has(self.hedge) || !has(self.maxAttempts) || self.maxAttempts > 1",
                "hedge needs a second attempt; raise maxAttempts or remove hedge",
            ),
        )
    )

    max_attempts: Annotated[int | None, Field(description="With the first. Default 3.", ge=1, le=10)] = None
    backoff: Backoff | None = None
    on: Annotated[
        list[Literal["Connect", "Timeout", "ServerError", "Throttled"]] | None,
        Field(
            description="Connect: not connected, or broken off. Timeout: attempt and idle. ServerError: 5xx"
            " except 501. Throttled: 429. Default all.",
            min_length=1,
            max_length=4,
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    idempotent: Annotated[
        bool | None,
        Field(description="A call that is made twice does what it does once. Default false."),
    ] = None
    idempotency_key_header: Annotated[
        str | None,
        Field(
            description="Where the server reads a key by which it knows a repetition, such as Idempotency-Key."
            " Calls without one get one.",
            pattern=r"^[A-Za-z0-9-]+$",
            min_length=1,
            max_length=64,
        ),
    ] = None
    hedge: Annotated[
        Hedge | None,
        Field(description="A second attempt beside a first one that is late. Only with idempotent: true."),
    ] = None
