"""ToolPolicy `toolpolicy.dev/v1alpha1`: what a user may write.

The CRD is generated from these models (`crd.py`). A field that this release cannot enforce carries
`not_yet`: it is part of the API, and refused at admission, never silently accepted.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from toolpolicy_api import duration

GROUP = "toolpolicy.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ToolPolicy"
PLURAL = "toolpolicies"

NOT_YET = "x-toolpolicy-not-yet"


def not_yet(*values: str) -> dict[str, Any]:
    """Schema marker: the whole field (no values), or only these values of it, cannot be enforced yet."""
    return {NOT_YET: list(values) if values else True}


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """Schema marker: CEL rules `(rule, message)` that the API server checks."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def list_map(key: str) -> dict[str, Any]:
    """Schema marker: a list whose items are told apart by one field, so that two may not share it."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


class Model(BaseModel):
    """camelCase on the wire, snake_case in code, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


Duration = Annotated[
    str,
    Field(
        pattern=duration.PATTERN,
        max_length=24,
        json_schema_extra=cel(("duration(self) > duration('0s')", "must be longer than zero")),
    ),
]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40)]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]*$", min_length=1, max_length=128)]
Percent = Annotated[int, Field(ge=1, le=100)]
LabelValue = Annotated[str, Field(max_length=63)]


class LabelRequirement(Model):
    """One set-based requirement of a label selector, as in every Kubernetes selector."""

    key: Annotated[str, Field(min_length=1, max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[list[LabelValue], Field(max_length=64)] = []


class Selector(Model):
    """Which injected pods of the policy's namespace it is for. Empty: all of them."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=32)] = []


class Server(Model):
    """A place that has tools: an MCP server, or the base of an HTTP API."""

    name: Annotated[Name, Field(description="Names the server in metrics, status and TOOLPOLICY_<NAME>_URL.")]
    protocol: Literal["MCP", "HTTP"]
    url: Annotated[
        str,
        Field(
            description="Where the server is. A path here is the prefix of every call's path.",
            pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$",
            max_length=2048,
        ),
    ]


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


class Backoff(Model):
    base: Duration | None = None
    max: Duration | None = None


class Retry(Model):
    max_attempts: Annotated[int | None, Field(ge=1, le=10)] = None
    backoff: Backoff | None = None
    on: Annotated[
        list[Literal["Connect", "Timeout", "ServerError", "Throttled"]] | None, Field(max_length=4)
    ] = None
    idempotent: bool | None = None
    idempotency_key_header: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9-]+$", min_length=1, max_length=64)
    ] = None


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
    calls: Annotated[int | None, Field(description="Look back this many calls.", ge=1, le=10_000)] = None
    minimum_calls: Annotated[
        int | None, Field(description="Below this many calls, decide nothing. Default 10.", ge=1, le=10_000)
    ] = None


class SlowCall(Model):
    over: Duration
    percent: Percent


class CircuitBreaker(Model):
    """When to stop calling a tool that fails, and when to try it again."""

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
    slow_call: Annotated[SlowCall | None, Field(json_schema_extra=not_yet())] = None
    open_for: Annotated[Duration | None, Field(description="Refuse calls this long. Default 30s.")] = None
    max_open_for: Annotated[Duration | None, Field(json_schema_extra=not_yet())] = None
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


class Concurrency(Model):
    max: Annotated[int, Field(ge=1, le=100_000)]
    queue: Annotated[int | None, Field(ge=0, le=100_000)] = None
    queue_timeout: Duration | None = None


class CachedFallback(Model):
    max_age: Duration


class Fallback(Model):
    message: Annotated[str | None, Field(max_length=4096)] = None
    static: Annotated[str | None, Field(max_length=65_536)] = None
    cached: CachedFallback | None = None
    tool: ToolName | None = None


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
    retry: Annotated[Retry | None, Field(json_schema_extra=not_yet())] = None
    circuit_breaker: CircuitBreaker | None = None
    concurrency: Annotated[Concurrency | None, Field(json_schema_extra=not_yet())] = None
    fallback: Annotated[Fallback | None, Field(json_schema_extra=not_yet())] = None


class Tool(Rules):
    """One tool, by the name it has in metrics, status and messages."""

    name: ToolName
    server: Annotated[Name, Field(description="One of spec.servers.")]
    match: Annotated[
        Match | None, Field(description="MCP: default is the tool's own name. HTTP: needed.")
    ] = None


Detector = Literal[
    "Secrets",
    "PII",
    "Financial",
    "Email",
    "CreditCard",
    "IBAN",
    "SSN",
    "Phone",
    "IPAddress",
    "JWT",
    "PrivateKey",
]


class Pattern(Model):
    """A text of your own that must not pass."""

    name: Annotated[Name, Field(description="Names the pattern in metrics and logs.")]
    regex: Annotated[
        str, Field(description="RE2 syntax: no backreferences, no lookahead.", min_length=1, max_length=2048)
    ]
    replace: Annotated[
        str | None,
        Field(description="What stands in its place, literally. Default: as action says.", max_length=256),
    ] = None


class FieldRule(Model):
    path: Annotated[str, Field(min_length=1, max_length=512)]
    action: Literal["Mask", "Hash", "Drop", "Block"]


class Redaction(Model):
    """What must not reach the tool, and what must not reach the model."""

    detectors: Annotated[
        list[Detector],
        Field(
            description="Groups (Secrets, PII, Financial) and single detectors.",
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = []
    min_confidence: Annotated[
        Literal["Low", "Medium", "High"],
        Field(description="Leaves out detectors that are less sure. Default Medium."),
    ] = "Medium"
    patterns: Annotated[list[Pattern], Field(max_length=64, json_schema_extra=list_map("name"))] = []
    fields: Annotated[list[FieldRule] | None, Field(max_length=64, json_schema_extra=not_yet())] = None
    apply: Annotated[
        Literal["Request", "Response", "Both"], Field(description="Which way. Default Both.")
    ] = "Both"
    action: Annotated[
        Literal["Mask", "Hash", "Drop", "Block"],
        Field(
            description="Mask puts the detector's name in its place, Hash also a code that is the same for the same"
            " value, Drop nothing. Block lets the call not pass. Default Mask."
        ),
    ] = "Mask"
    on_unscannable: Annotated[
        Literal["Refuse", "Pass"],
        Field(description="What to do with a body that cannot be read: unknown encoding, malformed, binary."),
    ] = "Refuse"


class Spec(Model):
    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.tools) || self.tools.all(t, self.servers.exists(s, s.name == t.server))",
                "every tool's server must be one of spec.servers",
            ),
        )
    )

    selector: Annotated[Selector, Field(description="Which injected pods of this namespace. {} is all.")]
    mode: Annotated[
        Literal["Enforce", "Shadow", "Off"],
        Field(
            description="Enforce applies the rules. Off lets every call pass untouched.",
            json_schema_extra=not_yet("Shadow"),
        ),
    ] = "Enforce"
    servers: Annotated[list[Server], Field(min_length=1, max_length=64, json_schema_extra=list_map("name"))]
    defaults: Annotated[
        Rules | None,
        Field(description="For every tool that says nothing else, and for tools that are not listed."),
    ] = None
    tools: Annotated[list[Tool], Field(max_length=256, json_schema_extra=list_map("name"))] = []
    redaction: Redaction | None = None


class Metadata(BaseModel):
    """What is needed of an object's metadata; everything else is ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    creation_timestamp: str = ""


class ToolPolicy(Model):
    """A whole object, as the API server stores it. `status` is not read: it is ours to write."""

    model_config = ConfigDict(extra="ignore")

    api_version: Literal["toolpolicy.dev/v1alpha1"]
    kind: Literal["ToolPolicy"]
    metadata: Metadata
    spec: Spec
