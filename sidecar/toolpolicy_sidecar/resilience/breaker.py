"""A circuit breaker that is exact under concurrency, late results and reloads.

    Closed ── threshold reached ──▶ Open ── first acquire after open_for ──▶ HalfOpen
      ▲                              ▲  ◀─ a probe failed, was slow, got lost ─┘ │
      └──────────────────────────────┼──── half_open_calls probes succeeded ─────┘

Every permit carries the generation it was given in; whatever a result decides begins a new one, and results of
another generation (or of another breaker) are ignored. So a call that began before the circuit opened can
neither close it nor open it a second time, and it cannot free the slot of a probe that it never was.

Probes go by the clock: the open time after a probe counts from when it was sent, and a probe keeps the next one
waiting for no longer than that. So a tool that hangs is tried as often as one that refuses, and is as soon back. A
probe that was given up for its time alone begins no generation: if it succeeds in the end, and none that was sent
after it has failed, that counts. Else a tool that takes longer than the open time could never come back.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, NamedTuple

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_api.duration import render
from toolpolicy_sidecar.resilience.call_rates import CallRates
from toolpolicy_sidecar.resilience.open_time import floor_s, open_for_s

State = Literal["Closed", "Open", "HalfOpen"]

LEASE_GRACE_S = 1.0
"""A probe's slot is held this long past its deadline, if that is before the next probe is due. The caller enforces
the deadline and reports in time; a permit that does not come back by then got lost."""


class Outcome(Enum):
    """How an attempt ended. NEUTRAL says nothing about the tool: the agent hung up, a 4xx, a 429."""

    SUCCESS = auto()
    FAILURE = auto()
    NEUTRAL = auto()


_SUCCESS, _FAILURE, _NEUTRAL = Outcome.SUCCESS, Outcome.FAILURE, Outcome.NEUTRAL
"""Looked up once: before Python 3.12 each look costs a tenth of a whole `record`."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """`at` and `open_until` are monotonic seconds; `open_until` None while open: until told otherwise."""

    before: State
    after: State
    reason: str
    at: float
    open_until: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is true of a circuit at a moment."""

    state: State
    reason: str | None
    since: float | None
    open_until: float | None


@dataclass(frozen=True, slots=True)
class Samples:
    """What a circuit has counted since it last changed. `failures` and `slow` are of the `calls` in the window."""

    failures_in_row: int
    calls: int
    failures: int
    slow: int
    probes_in_flight: int
    probes_succeeded: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """`retry_after_s` None: nobody knows. `changes` are those that acquire found due, in order."""

    reason: str
    retry_after_s: float | None
    changes: tuple[StateChange, ...] = ()


class Permit(msgspec.Struct, eq=False):
    """The right to one attempt. Settle it with `record`, whatever happens; a second time has no effect.

    `would_reject` (mode Observe only) is what mode Auto would have answered.
    """

    generation: object
    changes: tuple[StateChange, ...] = ()
    would_reject: Rejected | None = None
    settled: bool = False


class _Lease(NamedTuple):
    """A probe in flight: when it is given up, and when it was sent."""

    until: float
    sent: float


class CircuitBreaker:
    __slots__ = (
        "_config",
        "_failures_in_row",
        "_generation",
        "_leases",
        "_not_before",
        "_open_until",
        "_openings",
        "_probes_slow",
        "_probes_succeeded",
        "_rates",
        "_reason",
        "_since",
        "_slow_call",
        "_state",
    )

    def __init__(self, config: snapshot.Breaker) -> None:
        self._config = config
        self._generation = object()
        self._failures_in_row = 0
        self._rates = CallRates(config.rates) if config.rates else None
        self._slow_call = config.rates.slow_call if config.rates else None
        self._leases: dict[Permit, _Lease] = {}  # probes in flight that are not given up
        self._probes_succeeded = 0
        self._probes_slow = 0  # of those that succeeded
        self._state: State = "Closed"
        self._reason: str | None = None
        self._since: float | None = None
        self._open_until: float | None = None
        self._not_before = 0.0  # the newest wish of a tool that fails
        self._openings = 0  # in a row, without a time between in which it was well
        if config.mode == "ForcedOpen":
            self._state, self._reason = "Open", "forced open by policy"
        elif config.mode == "ForcedClosed":
            self._reason = "forced closed by policy"

    @property
    def state(self) -> State:
        """As of the last call of a method. For a report, ask `state_at`."""
        return self._state

    @property
    def open_until(self) -> float | None:
        return self._open_until

    def acquire(self, now: float, *, deadline: float) -> Permit | Rejected:
        """Asks for one attempt, which the caller ends at `deadline` at the latest."""
        if self._state == "Closed":  # by itself, or forced
            return Permit(self._generation)
        changes: tuple[StateChange, ...] = ()
        given_up = self._given_up(now)
        if given_up is not None:
            changes = (self._enter("Open", _NO_END, given_up.until, open_from=given_up.sent),)
        if self._state == "Open" and self._open_until is not None and now >= self._open_until:
            changes += (self._enter("HalfOpen", "open time over", now),)
        refused = self._refusal(now, changes)
        if refused is None:
            probe = Permit(self._generation, changes)
            due_again = now + open_for_s(self._config, self._openings + 1)
            self._leases[probe] = _Lease(min(deadline + LEASE_GRACE_S, due_again), now)
            return probe
        if self._config.mode == "Observe":
            return Permit(self._generation, changes, would_reject=refused)
        return refused

    def record(
        self,
        permit: Permit,
        outcome: Outcome,
        now: float,
        *,
        duration_s: float = 0.0,
        cause: str = "",
        retry_after_s: float | None = None,
    ) -> StateChange | None:
        """Settles a permit. `duration_s` is how long the tool took, `cause` (such as `AttemptTimeout`) goes
        into the reason of a failed probe, and before `retry_after_s`, as the tool asked with a failure, the
        circuit does not try it again if it opens."""
        if permit.settled:
            return None
        permit.settled = True
        if self._config.mode in _FORCED:
            return None
        if permit.generation is not self._generation:
            return None
        if permit.would_reject is not None:  # passed by Observe: Auto would not know how it ended
            return None
        if retry_after_s is not None and outcome is _FAILURE:
            self._not_before = now + floor_s(self._config, retry_after_s)
        slow = self._slow_call is not None and duration_s * 1000 > self._slow_call.over_ms
        if self._state != "Closed":
            return self._probed(permit, outcome, now, slow=slow, cause=cause)
        if outcome is not _NEUTRAL:
            return self._sampled(now, failed=outcome is _FAILURE, slow=slow)
        return None

    def reconfigure(self, config: snapshot.Breaker, now: float) -> tuple[StateChange, ...]:
        """Takes new limits. State, samples, probes in flight and the reopen deadline stay; a limit
        applies from the next record, the mode at once. A circuit that is forced no longer starts Closed,
        without samples."""
        mode_before = self._config.mode
        if config.rates is None:
            self._rates = None
        elif self._rates is None:
            self._rates = CallRates(config.rates)
        else:
            self._rates.reconfigure(config.rates)
        self._config = config
        self._slow_call = config.rates.slow_call if config.rates else None
        if config.mode == mode_before:
            return ()
        if config.mode == "ForcedOpen":
            return self._move("Open", "forced open by policy", now)
        if config.mode == "ForcedClosed":
            return self._move("Closed", "forced closed by policy", now)
        if mode_before in _FORCED:
            return self._move("Closed", "no longer forced by policy", now)
        return ()

    def reset(self, now: float) -> tuple[StateChange, ...]:
        """Closes the circuit and forgets its samples. What the policy forces stays forced."""
        if self._config.mode in _FORCED:
            return ()
        return self._move("Closed", "reset by hand", now)

    def state_at(self, now: float) -> Standing:
        """What a call would find at `now`: an Open circuit whose time is over is HalfOpen, a HalfOpen one with
        a probe that has no end is Open again. Changes nothing; acquire reports the change."""
        state, reason, since, until = self._state, self._reason, self._since, self._open_until
        given_up = self._given_up(now)
        if given_up is not None:
            state, reason, since = "Open", _NO_END, given_up.until
            until = self._open_from(given_up.sent, self._openings + 1)
        if state == "Open" and until is not None and now >= until:
            state, reason, since, until = "HalfOpen", "open time over", until, None
        return Standing(state, reason, since, until)

    def samples_at(self, now: float) -> Samples:
        calls, failures, slow = self._rates.counted(now) if self._rates else (0, 0, 0)
        return Samples(
            self._failures_in_row, calls, failures, slow, len(self._leases), self._probes_succeeded
        )

    def _refusal(self, now: float, changes: tuple[StateChange, ...]) -> Rejected | None:
        if self._state == "Open":
            retry_after_s = None if self._open_until is None else self._open_until - now
            return Rejected(self._reason or "open", retry_after_s, changes)
        if self._state == "HalfOpen":
            # Never zero: a limit lowered to what has already succeeded still needs one more record.
            wanted = max(1, self._config.half_open_calls - self._probes_succeeded)
            if len(self._leases) >= wanted:
                until = max(self._leases.values()).until
                return Rejected("half-open, and every probe is in flight", until - now, changes)
        return None

    def _probed(
        self, permit: Permit, outcome: Outcome, now: float, *, slow: bool, cause: str
    ) -> StateChange | None:
        lease = self._leases.pop(permit, None)
        if lease is None and (slow or outcome is not _SUCCESS):  # given up: it has failed already
            return None
        sent = now if lease is None else lease.sent
        if outcome is _FAILURE:
            why = f"probe failed: {cause}" if cause else "probe failed"
            return self._change("Open", why, now, open_from=sent)
        if outcome is _SUCCESS:
            self._probes_succeeded += 1
            self._probes_slow += slow
            too_slow = self._probes_too_slow()
            if too_slow:
                return self._change("Open", too_slow, now, open_from=sent)
            if self._probes_succeeded >= self._config.half_open_calls:
                count = self._probes_succeeded
                return self._change(
                    "Closed", "probe succeeded" if count == 1 else f"{count} probes succeeded", now
                )
        return None

    def _probes_too_slow(self) -> str | None:
        """As soon as it is certain, however fast the probes to come will be: the percentage is of all that
        are needed to close."""
        limit, wanted, slow = self._slow_call, self._config.half_open_calls, self._probes_slow
        if limit is None or not slow or slow * 100 < limit.percent * wanted:
            return None
        which = "probe" if wanted == 1 else f"{slow} of {wanted} probes"
        return f"{which} took over {render(limit.over_ms)}"

    def _sampled(self, now: float, *, failed: bool, slow: bool) -> StateChange | None:
        if not failed:
            self._not_before = 0.0
        self._failures_in_row = self._failures_in_row + 1 if failed else 0
        reason = self._rates.add(now, failed=failed, slow=slow) if self._rates else None
        limit = self._config.consecutive_failures
        if failed and limit is not None and self._failures_in_row >= limit:
            count = self._failures_in_row
            reason = f"{count} consecutive failure{'s' if count > 1 else ''}"
        return self._change("Open", reason, now) if reason else None

    def _given_up(self, now: float) -> _Lease | None:
        if self._state != "HalfOpen" or not self._leases:
            return None
        first = min(self._leases.values())
        return first if now >= first.until else None

    def _move(self, after: State, reason: str, now: float) -> tuple[StateChange, ...]:
        """A change from outside. It begins a new generation even when the state is the wanted one."""
        before, since = self._state, self._since
        change = self._change(after, reason, now)
        self._openings = 0
        if before != after:
            return (change,)
        self._since = since
        return ()

    def _change(self, after: State, reason: str, at: float, *, open_from: float | None = None) -> StateChange:
        """A result or a hand decided: what has not ended by now has no say any more."""
        self._generation = object()
        return self._enter(after, reason, at, open_from=open_from)

    def _enter(self, after: State, reason: str, at: float, *, open_from: float | None = None) -> StateChange:
        """`open_from`: when the probe was sent from which the open time counts. None: from now."""
        self._open_until = None
        if after == "Open" and self._config.mode != "ForcedOpen":
            self._openings = 1 if self._was_well(at) else self._openings + 1
            self._open_until = self._open_from(at if open_from is None else open_from, self._openings)
        self._not_before = 0.0
        before, self._state = self._state, after
        self._reason, self._since = reason, at
        self._leases.clear()
        self._probes_succeeded = self._probes_slow = 0
        self._failures_in_row = 0
        if self._rates:
            self._rates.clear()
        return StateChange(before, after, reason, at, self._open_until)

    def _open_from(self, began: float, openings: int) -> float:
        return max(began + open_for_s(self._config, openings), self._not_before)

    def _was_well(self, now: float) -> bool:
        """It had been closed for at least as long as it had to be open before: whoever flaps is away more
        often than not."""
        if self._state != "Closed" or self._since is None or not self._openings:
            return False
        return now - self._since >= open_for_s(self._config, self._openings)


_FORCED = frozenset({"ForcedOpen", "ForcedClosed"})
_NO_END = "probe failed: it did not end"
