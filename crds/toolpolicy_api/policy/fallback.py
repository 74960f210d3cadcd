"""`fallback` of a tool."""

from typing import Annotated

from pydantic import ConfigDict, Field

from toolpolicy_api.policy.model import Duration, Model, ToolName, cel


class CachedFallback(Model):
    """The tool's last good answer to the same call."""

    max_age: Annotated[Duration, Field(description="Older answers are not given.")]


ArgumentName = Annotated[str, Field(min_length=1, max_length=128)]


class ToolFallback(Model):
    """Another tool of this policy, called through its own rules within the time that is left."""

    name: Annotated[
        ToolName,
        Field(description="One of spec.tools. MCP: of the same server, and not a glob. HTTP: of any server."),
    ]
    arguments: Annotated[
        dict[str, ArgumentName] | None,
        Field(
            description="Its argument ← the argument of this tool; what is not named is left out. "
            "HTTP: placeholders and query parameters. Default: all as they are.",
            max_length=64,
        ),
    ] = None


class Fallback(Model):
    """What the agent gets in the place of an answer, when the tool fails or is not called for failing."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "[has(self.message), has(self.static), has(self.cached), has(self.tool)]"  # noqa: ISC004 -- one rule
                ".filter(given, given).size() == 1",
                "set one of message, static, cached and tool",
            ),
        )
    )

    message: Annotated[
        str | None,
        Field(
            description="The text of the error, in the place of the standard one.",
            min_length=1,
            max_length=4096,
        ),
    ] = None
    static: Annotated[
        str | None,
        Field(
            description="A successful answer: a text, or the JSON that the tool would give.",
            min_length=1,
            max_length=65_536,
        ),
    ] = None
    cached: Annotated[
        CachedFallback | None, Field(description="The tool's last good answer to the same call.")
    ] = None
    tool: Annotated[ToolFallback | None, Field(description="Another tool, called instead.")] = None
