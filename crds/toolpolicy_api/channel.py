"""The control channel's messages: one JSON object per WebSocket text frame, told apart by `type`.

sidecar → operator: Hello, Ack, Nack, Report, Heartbeat. Operator → sidecar: Config.
Times are Unix milliseconds by the sender's clock, for people to read; nothing is decided by them.
"""

from typing import Annotated, Literal

import msgspec

PROTOCOL = 1
PATH = "/v1/stream"
AUDIENCE = "toolpolicy"
HEARTBEAT_S = 10.0
"""Mean interval of heartbeats; senders jitter it by ±20 %."""
SILENCE_S = 30.0
"""After this long without a heartbeat a pod's circuits are Unknown."""

CircuitState = Literal["Closed", "Open", "HalfOpen", "Disabled"]

LATENCY_BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000)
"""Upper bounds of the latency buckets that heartbeats carry; one more bucket holds what is above."""

MAX_FRAME_BYTES = 4 * 1024 * 1024

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""Bounded, so that the sum over a fleet is still an int64 for the API server."""
Total = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
"""As Count, for what is never forgotten."""
UnixMs = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
"""Up to the end of the year 9999, the last moment that RFC 3339 can write."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", rename="camel"):
    """Unknown fields are ignored: a newer peer may say more."""


class Hello(Message, frozen=True, tag="hello"):
    """First frame of a sidecar. `hash` is what it enforces now, None when nothing."""

    version: str
    protocol: int = PROTOCOL
    hash: str | None = None


class Ack(Message, frozen=True, tag="ack"):
    """The snapshot with this hash is enforced from now on."""

    version: int
    hash: str


class Nack(Message, frozen=True, tag="nack"):
    """The snapshot was refused and the last good one stays. `error` names where and why."""

    version: int
    hash: str
    error: str


class ToolKey(msgspec.Struct, frozen=True, rename="camel"):
    """A circuit: the policy as namespace/name, the server and the tool (`*` for unlisted ones)."""

    policy: str
    server: str
    tool: str


class Transition(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A circuit changed its state, or a switch was thrown by hand, or went back: that may leave the state as it was."""

    key: ToolKey
    before: CircuitState
    after: CircuitState
    reason: str
    at_ms: UnixMs
    open_until_ms: UnixMs | None = None
    last_error: str | None = None


OverrideAction = Literal["Disable", "ForceClosed"]
"""Disable: every call is refused. ForceClosed: calls pass although the circuit is open."""


class Override(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A switch thrown by hand at one pod's admin API. `reason` and `by` are free texts."""

    action: OverrideAction
    until_ms: UnixMs
    reason: str = ""
    by: str = ""


class Totals(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Of one circuit since `since_ms`; another `since_ms` than before says that it counts anew. Calls of a tool that
    was switched off are left out. `latency` has one count per bucket, of calls that reached the tool."""

    since_ms: UnixMs
    calls: Total = 0
    errors: Total = 0
    latency: tuple[Total, ...] = ()


class ToolReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One circuit as it is now. Counts cover the last five minutes; `latency` has one count per bucket. `totals` None:
    the sidecar is too old to count for ever."""

    key: ToolKey
    state: CircuitState
    calls: Count = 0
    errors: Count = 0
    latency: tuple[Count, ...] = ()
    last_transition_ms: UnixMs | None = None
    reason: str | None = None
    last_error: str | None = None
    open_until_ms: UnixMs | None = None
    override: Override | None = None
    totals: Totals | None = None


Direction = Literal["Request", "Response"]


class Finding(msgspec.Struct, frozen=True, rename="camel"):
    """What redaction has found over the last five minutes: a detector, or a pattern of the policy, never a value."""

    policy: str
    direction: Direction
    detector: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,40}$")]
    count: Count


class Report(Message, frozen=True, tag="report"):
    """Sent at once when circuits change; `tools` has their full state after the change."""

    transitions: tuple[Transition, ...]
    tools: tuple[ToolReport, ...]


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """The full state of every circuit. Sent right after Hello, after every Ack, and then regularly."""

    hash: str | None
    tools: tuple[ToolReport, ...] = ()
    redacted: tuple[Finding, ...] = ()
    """In mode Shadow: what would have been."""
    would_find: tuple[Finding, ...] = ()
    """What stricter redaction would have found in sampled calls."""


class Config(Message, frozen=True, tag="config"):
    """`snapshot` is the canonical JSON whose SHA-256 is `hash`, byte for byte."""

    version: int
    hash: str
    snapshot: msgspec.Raw


FromSidecar = Hello | Ack | Nack | Report | Heartbeat
FromOperator = Config

encode = msgspec.json.encode
_from_sidecar: msgspec.json.Decoder[FromSidecar] = msgspec.json.Decoder(FromSidecar)
_from_operator = msgspec.json.Decoder(Config)


def decode_from_sidecar(data: bytes | str) -> FromSidecar:
    """Raises msgspec.DecodeError or ValidationError (both ValueError) on anything else."""
    return _from_sidecar.decode(data)


def decode_from_operator(data: bytes | str) -> FromOperator:
    """Raises as `decode_from_sidecar` does."""
    return _from_operator.decode(data)
