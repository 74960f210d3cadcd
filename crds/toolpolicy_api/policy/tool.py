"""`spec.tools` and `spec.defaults`."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from toolpolicy_api.policy.circuit_breaker import CircuitBreaker
from toolpolicy_api.policy.concurrency import Concurrency
from toolpolicy_api.policy.fallback import Fallback
from toolpolicy_api.policy.model import Model, Name, ToolName, cel
from toolpolicy_api.policy.redaction import ToolRedaction
from toolpolicy_api.policy.retry import Retry
from toolpolicy_api.policy.slo import Slo
from toolpolicy_api.policy.timeout import Timeout


class Match(Model):
    """Which calls of the server are calls of this tool."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.tool) != has(self.path)",
                "set one of tool (MCP) and path (HTTP)",
            ),
            ("!has(self.methods) || has(self.path)", "methods needs a path"),
        )
    )

    tool: Annotated[
        str | None,
        Field(description="MCP: the tool's name, or a glob such as search_*.", min_length=1, max_length=128),
    ] = None
    methods: Annotated[
        list[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]] | None,
        Field(description="HTTP: the methods of the tool. Default: all.", min_length=1, max_length=7),
    ] = None
    path: Annotated[
        str | None,
        Field(
            description="HTTP: the path below the server's url; {name} stands for one segment.",
            pattern=r"^/[^?#\s]*$",
            max_length=1024,
        ),
    ] = None


class Rules(Model):
    """What can be set for one tool, and for all of them under `defaults`."""

    enabled: Annotated[
        bool | None, Field(description="The kill switch: false refuses every call. Default true.")
    ] = None
    criticality: Annotated[
        Literal["Critical", "Optional"] | None,
        Field(description="Optional: on failure the agent is told to go on without it. Default Critical."),
    ] = None
    timeout: Timeout | None = None
    retry: Retry | None = None
    circuit_breaker: CircuitBreaker | None = None
    concurrency: Concurrency | None = None
    fallback: Fallback | None = None


class Tool(Rules):
    """One tool, by the name it has in metrics, status and messages."""

    name: ToolName
    server: Annotated[Name, Field(description="One of spec.servers.")]
    match: Annotated[
        Match | None, Field(description="MCP: default is the tool's own name. HTTP: needed.")
    ] = None
    redaction: ToolRedaction | None = None
    slo: Annotated[Slo | None, Field(description="Error budgets are shown in status.")] = None
