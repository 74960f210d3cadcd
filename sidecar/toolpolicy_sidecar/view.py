"""What a sidecar shows of itself by its admin API: circuits with what they count, and the calls that failed last."""

from collections import deque
from itertools import islice

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_api.channel import ToolReport, Transition
from toolpolicy_sidecar.circuit import Circuit
from toolpolicy_sidecar.reasons import FAILED, CallOutcome, Reason
from toolpolicy_sidecar.record import (
    CallRecord,
    EgressRecord,
    Fallback,
    HedgeResult,
    RedactedMessage,
    RefusedRequest,
)
from toolpolicy_sidecar.resilience.retry import Ended
from toolpolicy_sidecar.runtime import Runtime
from toolpolicy_sidecar.slots import SlotsKey

KEPT_CALLS = 200


class Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Read by people and by `toolpolicy top`. What is at its default is left out."""


class Window(Shown, frozen=True, kw_only=True):
    """What the circuit breaker has counted since it last changed, and its limits."""

    failures_in_row: int = 0
    consecutive_failures: int | None = None
    """Of these it opens."""
    calls: int = 0
    """The rates are of these; of them failed and slow ones:"""
    failures: int = 0
    slow: int = 0
    minimum_calls: int | None = None
    """Below, no rate is looked at."""
    length_calls: int | None = None
    length_ms: int | None = None
    failure_percent: int | None = None
    slow_percent: int | None = None
    probes_in_flight: int = 0
    probes_succeeded: int = 0


class CircuitView(ToolReport, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A circuit as the operator hears of it, and what decides when it changes. `window` None: it never opens."""

    mode: snapshot.Mode = "Enforce"
    """Of its policy."""
    window: Window | None = None
    in_flight: int = 0
    waiting: int = 0
    """For a slot of the tool."""
    slots: int | None = None
    """The limit of calls in flight, as it is now."""


class FailedCall(Shown, frozen=True, kw_only=True):
    """A call that was refused or failed: reasons, counts and times; no value of an argument, a header or a result."""

    started_at_ms: int
    policy: str
    server: str
    tool: str
    protocol: str
    outcome: CallOutcome
    reason: Reason | None = None
    error: str | None = None
    status: int
    duration_ms: float
    queued_ms: float | None = None
    upstream_ms: float | None = None
    attempts: int = 0
    retries: tuple[Reason, ...] = ()
    retry_ended: Ended | None = None
    hedge: HedgeResult | None = None
    fallback: Fallback | None = None
    fallback_missed: str | None = None
    stands_for: str | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    trace_id: str | None = None


class Circuits(Shown, frozen=True, kw_only=True):
    circuits: tuple[CircuitView, ...]


class Calls(Shown, frozen=True, kw_only=True):
    """The newest first."""

    calls: tuple[FailedCall, ...]


_FIELDS = FailedCall.__struct_fields__


class FailedCalls:
    """A recorder that keeps the last calls that were refused or failed."""

    def __init__(self, kept: int = KEPT_CALLS) -> None:
        self._last: deque[CallRecord] = deque(maxlen=kept)

    def newest(self, most: int = KEPT_CALLS) -> Calls:
        return Calls(calls=tuple(_failed(record) for record in islice(reversed(self._last), most)))

    def call(self, record: CallRecord) -> None:
        if record.outcome in FAILED:
            self._last.append(record)

    def refused(self, record: RefusedRequest) -> None:
        """It belonged to no tool."""

    def redacted(self, record: RedactedMessage) -> None:
        """It belonged to no call."""

    def egress(self, record: EgressRecord) -> None:
        """Nor did this."""

    def transition(self, transition: Transition) -> None:
        """The circuits are shown as they are."""


def circuits(runtime: Runtime | None) -> Circuits:
    """As they are now, in the order of the policies."""
    found = runtime.circuits.values() if runtime else ()
    return Circuits(circuits=tuple(_circuit(runtime, circuit) for circuit in found if runtime))


def _circuit(runtime: Runtime, circuit: Circuit) -> CircuitView:
    key = circuit.key
    slots = runtime.slots[SlotsKey(key.policy, key.server, key.tool, circuit.place)]
    return CircuitView(
        **msgspec.structs.asdict(circuit.report()),
        mode=runtime.mode(circuit),
        window=_window(circuit),
        in_flight=slots.in_flight,
        waiting=slots.waiting,
        slots=slots.limit,
    )


def _window(circuit: Circuit) -> Window | None:
    samples, limits = circuit.samples(), circuit.limits
    if samples is None or limits is None:
        return None
    rates = limits.rates
    return Window(
        failures_in_row=samples.failures_in_row,
        consecutive_failures=limits.consecutive_failures,
        calls=samples.calls,
        failures=samples.failures,
        slow=samples.slow,
        minimum_calls=rates.minimum_calls if rates else None,
        length_calls=rates.calls if rates else None,
        length_ms=rates.window_ms if rates else None,
        failure_percent=rates.failure_percent if rates else None,
        slow_percent=rates.slow_call.percent if rates and rates.slow_call else None,
        probes_in_flight=samples.probes_in_flight,
        probes_succeeded=samples.probes_succeeded,
    )


def _failed(record: CallRecord) -> FailedCall:
    return FailedCall(**{name: getattr(record, name) for name in _FIELDS})
