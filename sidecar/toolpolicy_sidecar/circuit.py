"""What outlives a reload: the breaker, the throttle gate, the latencies, the tally and the override of one tool."""

from collections.abc import Callable

from toolpolicy_api import channel, snapshot
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.override import Override
from toolpolicy_sidecar.reasons import CallOutcome
from toolpolicy_sidecar.resilience.breaker import (
    CircuitBreaker,
    Outcome,
    Permit,
    Rejected,
    Samples,
    StateChange,
)
from toolpolicy_sidecar.resilience.hedge import Hedge
from toolpolicy_sidecar.resilience.throttle import ThrottleGate
from toolpolicy_sidecar.tally import Tally
from toolpolicy_sidecar.upstream.origin import Place

LAST_ERROR_CHARACTERS = 200
BY_POLICY = "disabled by the policy"


class Circuit:
    """Every change of its state is emitted exactly once, from here."""

    __slots__ = (
        "_breaker",
        "_clock",
        "_emit",
        "_last_error",
        "_override",
        "_reason",
        "_retired",
        "_rules",
        "_said",
        "_tally",
        "_transitioned_ms",
        "hedge",
        "key",
        "place",
        "throttle",
    )

    def __init__(
        self,
        key: channel.ToolKey,
        place: Place,
        rules: snapshot.Rules,
        clock: Clock,
        emit: Callable[[channel.Transition], None],
        *,
        override: Override | None = None,
    ) -> None:
        """`override`: of the circuit that this one follows."""
        self.key, self.place = key, place
        self._rules = rules
        self._clock, self._emit = clock, emit
        self._breaker = CircuitBreaker(rules.breaker) if rules.breaker else None
        self.throttle = ThrottleGate()
        self.hedge = _hedge(rules, None)
        self._tally = Tally(clock.unix_ms())
        self._override = override
        self._last_error: str | None = None
        self._transitioned_ms: int | None = None
        self._reason: str | None = override.words if override else None
        self._retired = False
        self._said: channel.CircuitState = "Closed"
        self._said = self.state(clock.monotonic())

    def reload(self, rules: snapshot.Rules) -> None:
        """Same key, new limits: state, samples and the reopen deadline stay."""
        now = self._clock.monotonic()
        self._rules = rules
        self.hedge = _hedge(rules, self.hedge)
        if rules.breaker is None:
            self._breaker = None
        elif self._breaker is None:
            self._breaker = CircuitBreaker(rules.breaker)
        else:
            self._tell(self._breaker.reconfigure(rules.breaker, now))
        self._say_state(BY_POLICY if not rules.enabled else "changed by the policy")

    def retire(self) -> None:
        """No policy in force has it any more: calls that hold it end quietly."""
        self._retired = True

    # calls
    def acquire(self, now: float, deadline: float) -> Permit | Rejected | None:
        """None: there is no breaker, nothing to settle. Who passes an open circuit that is forced closed has a
        permit that teaches it nothing."""
        if self._breaker is None:
            return None
        answer = self._breaker.acquire(now, deadline=deadline)
        if answer.changes:
            self._tell(answer.changes)
        if isinstance(answer, Rejected) and self._forced_closed(now):
            return Permit(None, would_reject=answer)
        return answer

    def settle(
        self,
        permit: Permit | None,
        outcome: Outcome,
        cause: str | None,
        *,
        duration_s: float,
        retry_after_s: float | None = None,
    ) -> None:
        """`duration_s`: how long the attempt took, without the time in which the agent was waited for.
        `retry_after_s`: from now, if the answer said so."""
        if cause and outcome is Outcome.FAILURE:
            self._last_error = cause[:LAST_ERROR_CHARACTERS]
        if permit is not None and self._breaker is not None:
            now = self._clock.monotonic()
            change = self._breaker.record(
                permit,
                outcome,
                now,
                duration_s=duration_s,
                cause=cause or "",
                retry_after_s=retry_after_s,
            )
            if change:
                self._tell((change,))

    def count(self, now: float, outcome: CallOutcome, latency_ms: float | None) -> None:
        refused = outcome == "refused"
        self._tally.add(
            now, error=refused or outcome == "failure", latency_ms=latency_ms, off=refused and self._off
        )

    # switches
    @property
    def switched_on(self) -> bool:
        """By the policy that is in force now, which may be a newer one than a call that waited began under."""
        return self._rules.enabled

    @property
    def has_breaker(self) -> bool:
        return self._breaker is not None

    def override(self, now: float) -> Override | None:
        """The one in force; one that has run out goes back, here."""
        override = self._override
        if override is not None and now >= override.until:
            self.lift(f"no longer {override.words}; its time was over")
        return self._override

    def impose(self, override: Override) -> None:
        """In the place of the one that was in force."""
        self._override = override
        self._say_state(override.words, always=True)

    def lift(self, why: str) -> None:
        if self._override is not None:
            self._override = None
            self._say_state(why, always=True)

    def reset(self) -> None:
        """Closed, without samples, without an override and without a pause."""
        self.lift("reset by hand")
        self.throttle.open()
        if self._breaker:
            self._tell(self._breaker.reset(self._clock.monotonic()))

    # words
    @property
    def limits(self) -> snapshot.Breaker | None:
        return self._rules.breaker

    def samples(self) -> Samples | None:
        """None: there is no circuit breaker that would count."""
        return self._breaker.samples_at(self._clock.monotonic()) if self._breaker else None

    def state(self, now: float) -> channel.CircuitState:
        override = self.override(now)
        if self._off:
            return "Disabled"
        if override is not None:
            return "Closed"
        return self._breaker.state_at(now).state if self._breaker else "Closed"

    def report(self) -> channel.ToolReport:
        now = self._clock.monotonic()
        override = self.override(now)
        calls, errors, latency = self._tally.sums(now)
        standing = self._breaker.state_at(now) if self._breaker and not self._masked else None
        reason = self._reason or (standing.reason if standing else None)
        until = standing.open_until if standing else None
        return channel.ToolReport(
            key=self.key,
            state=self.state(now),
            calls=calls,
            errors=errors,
            latency=latency if calls else (),
            last_transition_ms=self._transitioned_ms,
            reason=BY_POLICY if not self._rules.enabled else reason,
            last_error=self._last_error,
            open_until_ms=None if until is None else self._unix_ms(until),
            override=channel.Override(override.action, override.until_ms, override.reason, override.by)
            if override
            else None,
            totals=self._tally.totals(),
        )

    @property
    def _off(self) -> bool:
        return not self._rules.enabled or (self._override is not None and self._override.action == "Disable")

    @property
    def _masked(self) -> bool:
        """What the breaker does is not what calls find."""
        return not self._rules.enabled or self._override is not None

    def _forced_closed(self, now: float) -> bool:
        override = self.override(now)
        return override is not None and override.action == "ForceClosed"

    def _unix_ms(self, at: float) -> int:
        return self._clock.unix_ms() + round((at - self._clock.monotonic()) * 1000)

    def _tell(self, changes: tuple[StateChange, ...]) -> None:
        """While it is switched by hand or off, nobody sees what the breaker does."""
        if self._masked:
            return
        for change in changes:
            self._say(change.after, change.reason, self._unix_ms(change.at), change.open_until)

    def _say_state(self, reason: str, *, always: bool = False) -> None:
        now = self._clock.monotonic()
        until = self._breaker.state_at(now).open_until if self._breaker else None
        self._say(self.state(now), reason, self._clock.unix_ms(), until, always=always)

    def _say(
        self,
        after: channel.CircuitState,
        reason: str,
        at_ms: int,
        open_until: float | None,
        *,
        always: bool = False,
    ) -> None:
        """`always`: also when the state stays."""
        before, self._said = self._said, after
        if (after == before and not always) or self._retired:
            return
        self._transitioned_ms, self._reason = at_ms, reason
        self._emit(
            channel.Transition(
                key=self.key,
                before=before,
                after=after,
                reason=reason,
                at_ms=at_ms,
                open_until_ms=self._unix_ms(open_until) if after == "Open" and open_until else None,
                last_error=self._last_error if after == "Open" else None,
            )
        )


def _hedge(rules: snapshot.Rules, before: Hedge | None) -> Hedge | None:
    """What was learned stays, as long as somebody wants to know it."""
    return None if rules.retry is None or rules.retry.hedge is None else before or Hedge()
