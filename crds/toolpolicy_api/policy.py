"""ToolPolicy `toolpolicy.dev/v1alpha1`: what a user may write.

The CRD is generated from these models (`crd.py`). A field that this release cannot enforce carries
`not_yet`: it is part of the API, and refused at admission, never silently accepted.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from toolpolicy_api import duration
from toolpolicy_api.channel import LATENCY_BOUNDS_MS
from toolpolicy_api.headers import FRAMING, MCP_PREFIX

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


class ClientCertificate(Model):
    """A Secret of type kubernetes.io/tls in the pod's namespace. It is mounted in the sidecars of pods that start while
    the policy is there."""

    secret_name: Annotated[
        str,
        Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253),
    ]


class ServerTls(Model):
    """How the sidecar knows an https server, and how the server knows it."""

    ca_bundle: Annotated[
        str | None,
        Field(
            description="Certificates in PEM; these vouch for the server, and no others. Default: the system's, and"
            " the installation's extra roots.",
            min_length=1,
            max_length=65_536,
        ),
    ] = None
    server_name: Annotated[
        str | None,
        Field(
            description="The name that the server is asked for (SNI) and that its certificate must have. Default: the"
            " host of the url.",
            pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$",
            max_length=253,
        ),
    ] = None
    client_certificate: Annotated[
        ClientCertificate | None, Field(description="What the sidecar shows to a server that asks for it.")
    ] = None


class Stdio(Model):
    """The server has no address: the agent starts it, by `toolpolicy stdio`, and speaks to it over pipes."""


class Server(Model):
    """A place that has tools: an MCP server, or the base of an HTTP API."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.tls) || (has(self.url) && self.url.startsWith('https://'))",
                "tls is for https; write the url with https:// or remove tls",
            ),
            ("has(self.url) != has(self.stdio)", "set one of url and stdio"),
            ("!has(self.stdio) || self.protocol == 'MCP'", "a stdio server speaks MCP"),
            ("!has(self.stdio) || !has(self.timeoutHeader)", "a stdio server gets no headers"),
        )
    )

    name: Annotated[Name, Field(description="Names the server in metrics, status and TOOLPOLICY_<NAME>_URL.")]
    protocol: Literal["MCP", "HTTP"]
    url: Annotated[
        str | None,
        Field(
            description="Where the server is. A path here is the prefix of every call's path.",
            pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$",
            max_length=2048,
        ),
    ] = None
    stdio: Annotated[
        Stdio | None,
        Field(
            description="{} in the place of url: `toolpolicy stdio` starts the server and speaks to it over pipes."
        ),
    ] = None
    timeout_header: Annotated[
        str | None,
        Field(
            description="The header in which it is told how many milliseconds are left for a call."
            " Default X-Request-Timeout-Ms.",
            pattern=r"^[A-Za-z0-9-]+$",
            min_length=1,
            max_length=64,
        ),
    ] = None
    concurrency: Annotated[
        Concurrency | None,
        Field(description="For all calls of its tools together, besides the limits of each tool."),
    ] = None
    tls: Annotated[ServerTls | None, Field(description="Only with an https url.")] = None


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


class Allowed(Model):
    """What is no secret although it looks like one: a test card, the company's own addresses."""

    model_config = ConfigDict(
        json_schema_extra=cel(("has(self.text) != has(self.regex)", "set one of text and regex"))
    )

    text: Annotated[
        str | None,
        Field(
            description="The whole of what is hit. Numbers are the same with other separators.",
            min_length=1,
            max_length=256,
        ),
    ] = None
    regex: Annotated[
        str | None,
        Field(description="RE2, for the whole of what is hit.", min_length=1, max_length=2048),
    ] = None


class FieldRule(Model):
    """A value in the arguments and in the results of tools."""

    path: Annotated[
        str,
        Field(
            description="JSONPath (RFC 9535): names, indices, * and ..; no slices or filters.",
            min_length=1,
            max_length=512,
        ),
    ]
    action: Literal["Mask", "Hash", "Drop", "Block"]


HeaderName = Annotated[
    str,
    Field(
        pattern=r"^(\*|[A-Za-z0-9_-]+)$",
        min_length=1,
        max_length=64,
        json_schema_extra=cel(
            (
                f"!(self.lowerAscii() in {list(FRAMING)}) && !self.lowerAscii().startsWith('{MCP_PREFIX}')",
                "the message or the protocol is read by this header; remove it",
            )
        ),
    ),
]
Headers = Annotated[
    list[HeaderName],
    Field(
        description="Headers of requests and answers that are looked at, too, such as Location. * is all but"
        " Authorization, Cookie and Set-Cookie. Default none.",
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    ),
]


class Tokens(Model):
    """Of the action Tokenize: which tools get the values for which the tokens stand."""

    trusted_tools: Annotated[
        list[ToolName],
        Field(
            description="Tools of spec.tools that are called with the values.",
            max_length=256,
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = []
    session_header: Annotated[
        str | None,
        Field(
            description="The request header that says which conversation a call belongs to. Default: all calls of a pod"
            " are one.",
            pattern=r"^[A-Za-z0-9-]+$",
            min_length=1,
            max_length=64,
        ),
    ] = None
    keep_for: Annotated[
        Duration | None, Field(description="How long after it was last made a token has a value. Default 1h.")
    ] = None


class Preview(Model):
    """What stricter redaction would find in a sample of calls, after the redaction in force. Only counts come of it."""

    percent: Annotated[Percent, Field(description="Of calls that are looked at, at random.")]
    detectors: Annotated[
        list[Detector],
        Field(
            description="Default all groups.",
            min_length=1,
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ["Secrets", "PII", "Financial"]
    min_confidence: Annotated[Literal["Low", "Medium", "High"], Field(description="Default Low.")] = "Low"


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
    fields: Annotated[
        list[FieldRule], Field(description="Values by their place, whatever is in them.", max_length=64)
    ] = []
    headers: Headers = []
    allow: Annotated[
        list[Allowed], Field(description="What is never redacted for being found.", max_length=64)
    ] = []
    exempt: Annotated[
        list[ToolName],
        Field(
            description="Tools of spec.tools that are not redacted.",
            max_length=256,
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = []
    apply: Annotated[
        Literal["Request", "Response", "Both"], Field(description="Which way. Default Both.")
    ] = "Both"
    action: Annotated[
        Literal["Mask", "Hash", "Tokenize", "Drop", "Block"],
        Field(
            description="Mask puts the detector's name in its place, Hash also a code that is the same for the same"
            " value, Tokenize one that is put back for trusted tools, Drop nothing. Block lets the call not pass."
            " Default Mask."
        ),
    ] = "Mask"
    on_unscannable: Annotated[
        Literal["Refuse", "Pass"],
        Field(description="What to do with a body that cannot be read: unknown encoding, malformed, binary."),
    ] = "Refuse"
    tokens: Annotated[Tokens | None, Field(description="Of the action Tokenize.")] = None
    preview: Annotated[
        Preview | None,
        Field(
            description="Counts in status.redaction.wouldFind what stricter redaction would find. Default off."
        ),
    ] = None


class Egress(Model):
    """What of the rest of the network may be reached through the sidecar's forward proxy."""

    default: Annotated[
        Literal["Allow", "Deny"],
        Field(
            description="Allow lets requests to hosts that no policy names pass untouched; Deny refuses them. If one"
            " policy of a pod says Deny, that stands."
        ),
    ]


class ToolRedaction(Model):
    """What is set here stands in the place of the policy's redaction, field by field."""

    detectors: Annotated[
        list[Detector] | None, Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = None
    min_confidence: Literal["Low", "Medium", "High"] | None = None
    patterns: Annotated[list[Pattern] | None, Field(max_length=64, json_schema_extra=list_map("name"))] = None
    fields: Annotated[list[FieldRule] | None, Field(max_length=64)] = None
    headers: Headers | None = None
    allow: Annotated[list[Allowed] | None, Field(max_length=64)] = None
    apply: Literal["Request", "Response", "Both"] | None = None
    action: Literal["Mask", "Hash", "Tokenize", "Drop", "Block"] | None = None
    on_unscannable: Literal["Refuse", "Pass"] | None = None


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


class Tool(Rules):
    """One tool, by the name it has in metrics, status and messages."""

    name: ToolName
    server: Annotated[Name, Field(description="One of spec.servers.")]
    match: Annotated[
        Match | None, Field(description="MCP: default is the tool's own name. HTTP: needed.")
    ] = None
    redaction: ToolRedaction | None = None
    slo: Annotated[Slo | None, Field(description="Error budgets are shown in status.")] = None


class Spec(Model):
    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                f"!has(self.tools) || self.tools.filter(t, has(t.slo)).size() <= {SLO_TOOLS}",
                f"at most {SLO_TOOLS} tools of a policy can have an slo",
            ),
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
            description="Enforce applies the rules. Shadow decides, counts, and lets every call pass untouched. "
            "Off lets them pass without looking."
        ),
    ] = "Enforce"
    servers: Annotated[list[Server], Field(min_length=1, max_length=64, json_schema_extra=list_map("name"))]
    defaults: Annotated[
        Rules | None,
        Field(description="For every tool that says nothing else, and for tools that are not listed."),
    ] = None
    tools: Annotated[list[Tool], Field(max_length=256, json_schema_extra=list_map("name"))] = []
    redaction: Redaction | None = None
    egress: Annotated[
        Egress | None,
        Field(description="For what the agent sends through the forward proxy. Default Allow."),
    ] = None


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
