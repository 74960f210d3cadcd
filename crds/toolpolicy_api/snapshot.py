"""What a sidecar enforces: compiled policies, and the snapshot that one pod gets.

All values are final: defaults are applied, durations are milliseconds. A snapshot is full state; its
canonical JSON is what the SHA-256 hash covers, so equal hashes mean equal behaviour.
"""

import hashlib
from typing import Literal

import msgspec

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
STDIO = "stdio:"
"""The url of a server that has no address."""
UNLISTED = "*"
"""The tool name under which calls of a server's unlisted tools are counted."""


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Immutable, strict on input, and without its defaults on the wire."""


class Timeouts(Frozen, frozen=True):
    total_ms: int
    attempt_ms: int
    connect_ms: int
    idle_ms: int | None = None


class SlowCall(Frozen, frozen=True):
    """A call is slow when it takes longer than `over_ms`."""

    over_ms: int
    percent: int


class CallRates(Frozen, frozen=True):
    """Shares of recent calls that open the circuit. One of `window_ms` and `calls` is set, and at least one
    of `failure_percent` and `slow_call`."""

    minimum_calls: int
    window_ms: int | None = None
    calls: int | None = None
    failure_percent: int | None = None
    slow_call: SlowCall | None = None


class Breaker(Frozen, frozen=True):
    """`max_open_for_ms` None: it is open for `open_for_ms` each time, however often."""

    open_for_ms: int
    half_open_calls: int
    mode: Literal["Auto", "ForcedOpen", "ForcedClosed", "Observe"] = "Auto"
    consecutive_failures: int | None = None
    rates: CallRates | None = None
    max_open_for_ms: int | None = None
    count_tool_errors: bool = False
    throttle_counts_as_failure: bool = False


RetryOn = Literal["Connect", "Timeout", "ServerError", "Throttled"]


class Hedge(Frozen, frozen=True):
    """A second attempt beside a first one that is late, but not before it has taken as long."""

    not_before_ms: int = 0


class Retry(Frozen, frozen=True):
    """`max_attempts` counts the first. `key_header`: where the key stands by which the tool knows a repetition."""

    max_attempts: int
    backoff_base_ms: int
    backoff_max_ms: int
    on: tuple[RetryOn, ...]
    idempotent: bool = False
    key_header: str | None = None
    hedge: Hedge | None = None


class Concurrency(Frozen, frozen=True):
    """At most `max` calls at once, `queue` more wait. `queue_timeout_ms` None: until their deadline. `adaptive_min`:
    the limit is found between it and `max`; None: it is `max`."""

    max: int
    queue: int = 0
    queue_timeout_ms: int | None = None
    adaptive_min: int | None = None


class MessageFallback(Frozen, frozen=True, tag="message"):
    """An error still, in the policy's own words."""

    text: str


class StaticFallback(Frozen, frozen=True, tag="static"):
    """A successful answer: a text, or JSON."""

    content: str


class CachedFallback(Frozen, frozen=True, tag="cached"):
    """The last good answer to the same call, if it is no older."""

    max_age_ms: int


class ToolFallback(Frozen, frozen=True, tag="tool"):
    """Another tool of the policy. `arguments`: its name → the name here; None: all as they are."""

    name: str
    arguments: dict[str, str] | None = None


Fallback = MessageFallback | StaticFallback | CachedFallback | ToolFallback


class Rules(Frozen, frozen=True):
    """What applies to one tool. `breaker` None: calls are never refused for failing. `retry` None: one attempt.
    `concurrency` None: no limit."""

    timeouts: Timeouts
    breaker: Breaker | None = None
    retry: Retry | None = None
    concurrency: Concurrency | None = None
    enabled: bool = True
    criticality: Literal["Critical", "Optional"] = "Critical"
    fallback: Fallback | None = None


class McpMatch(Frozen, frozen=True, tag="mcp"):
    """A tool name or a glob (`*`, `?`, `[…]`)."""

    tool: str


class HttpMatch(Frozen, frozen=True, tag="http"):
    """`path` below the server's url, `{name}` for one segment. `methods` empty: all."""

    path: str
    methods: tuple[str, ...] = ()


FieldAction = Literal["Mask", "Hash", "Drop", "Block"]
Action = Literal["Mask", "Hash", "Tokenize", "Drop", "Block"]


class Pattern(Frozen, frozen=True):
    """`replace` None: a placeholder that is the same for the same value."""

    name: str
    regex: str
    replace: str | None = None


class Allowed(Frozen, frozen=True):
    """One of both: the whole of what is hit, or RE2 for it."""

    text: str | None = None
    regex: str | None = None


class FieldRule(Frozen, frozen=True):
    """`path` as `jsonpath` reads it."""

    path: str
    action: FieldAction


class Tokens(Frozen, frozen=True):
    """Of the action Tokenize. `trusted`: names of tools that get the values. `session_header` None: all calls of a
    sidecar are one session."""

    trusted: tuple[str, ...] = ()
    session_header: str | None = None
    keep_ms: int = 3_600_000


class Redaction(Frozen, frozen=True):
    """`detectors` holds names of detectors and groups as they are written: the sidecar knows what is in a group.
    `apply` is Request, Response or Both. `action` is what happens to what the detectors find. `headers`: names that are
    looked at as well, `*` for all."""

    detectors: tuple[str, ...] = ()
    min_confidence: Literal["Low", "Medium", "High"] = "Medium"
    patterns: tuple[Pattern, ...] = ()
    apply: Literal["Request", "Response", "Both"] = "Both"
    action: Action = "Mask"
    on_unscannable: Literal["Refuse", "Pass"] = "Refuse"
    allow: tuple[Allowed, ...] = ()
    fields: tuple[FieldRule, ...] = ()
    tokens: Tokens = Tokens()
    headers: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        """There is nothing to look for."""
        return not (self.detectors or self.patterns or self.fields)


class Preview(Frozen, frozen=True):
    """What stricter redaction would find, in this share of calls."""

    percent: int
    detectors: tuple[str, ...]
    min_confidence: Literal["Low", "Medium", "High"] = "Low"


class Tool(Frozen, frozen=True):
    """First match in the order of the policy wins. `redaction` None: the policy's; one that looks for nothing: none."""

    name: str
    server: str
    match: McpMatch | HttpMatch
    rules: Rules
    redaction: Redaction | None = None


class ServerTls(Frozen, frozen=True):
    """Of connections to an https server. `ca_bundle` (PEM) None: the system's roots, and what the installation adds.
    `server_name` None: the host of the url. `client_certificate`: a Secret, as a folder of the sidecar's."""

    ca_bundle: str | None = None
    server_name: str | None = None
    client_certificate: str | None = None


class Server(Frozen, frozen=True):
    """`unlisted` holds the rules for calls that no tool of the policy matches; `concurrency` is for all calls.
    `timeout_header`: where it is told the milliseconds that are left. `upgrade`: Tunnel lets WebSockets pass."""

    name: str
    protocol: Literal["MCP", "HTTP"]
    url: str
    unlisted: Rules
    concurrency: Concurrency | None = None
    timeout_header: str = TIMEOUT_HEADER
    tls: ServerTls | None = None
    upgrade: Literal["Refuse", "Tunnel"] = "Refuse"


class Requirement(Frozen, frozen=True):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class Selector(Frozen, frozen=True):
    match_labels: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()


Mode = Literal["Enforce", "Shadow", "Off"]
"""Shadow: everything is decided, nothing is done."""


class Policy(Frozen, frozen=True):
    """One compiled ToolPolicy. `created` is RFC 3339: of two policies with one claim, the older wins."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    selector: Selector
    servers: tuple[Server, ...]
    mode: Mode = "Enforce"
    tools: tuple[Tool, ...] = ()
    redaction: Redaction | None = None
    egress_default: Literal["Allow", "Deny"] = "Allow"
    preview: Preview | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Snapshot(Frozen, frozen=True):
    """Everything one pod enforces. No server and no tool name appears twice."""

    policies: tuple[Policy, ...] = ()


class Bootstrap(Frozen, frozen=True):
    """The durable form: every compiled policy of a namespace, for pods that start without the operator."""

    policies: tuple[Policy, ...] = ()


def encode(value: Snapshot | Bootstrap | Policy) -> bytes:
    """Canonical JSON: fields in declared order, mappings sorted, no whitespace, defaults left out."""
    return msgspec.json.encode(value, order="deterministic")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def decode_snapshot(data: bytes) -> Snapshot:
    """Raises msgspec.ValidationError or msgspec.DecodeError (both ValueError) for anything else."""
    return msgspec.json.decode(data, type=Snapshot)


def decode_bootstrap(data: bytes) -> Bootstrap:
    """Raises as `decode_snapshot` does."""
    return msgspec.json.decode(data, type=Bootstrap)
