"""`timeout` of a tool."""

from typing import Annotated

from pydantic import ConfigDict, Field

from toolpolicy_api.policy.model import Duration, Model, cel


class Timeout(Model):
    """How long to wait, for what."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.attempt) || !has(self.total) || duration(self.attempt) <= duration(self.total)",
                "attempt is longer than total; shorten attempt or lengthen total",
            ),
            (
                "!has(self.connect) || !has(self.total) || duration(self.connect) <= duration(self.total)",
                "connect is longer than total; shorten connect or lengthen total",
            ),
            (
                "!has(self.attempt) || !has(self.connect)"  # noqa: ISC004 -- one rule over two lines
                " || duration(self.connect) <= duration(self.attempt)",
                "connect is longer than attempt; shorten connect or lengthen attempt",
            ),
        )
    )

    total: Annotated[
        Duration | None, Field(description="From the call's arrival to the end of its answer. Default 30s.")
    ] = None
    attempt: Annotated[
        Duration | None,
        Field(description="From one attempt to the end of its answer. Default: total."),
    ] = None
    connect: Annotated[
        Duration | None, Field(description="DNS, TCP and TLS together. Default 2s, or less if total is.")
    ] = None
    idle: Annotated[
        Duration | None, Field(description="Silence between two pieces of a started answer. Default: none.")
    ] = None
