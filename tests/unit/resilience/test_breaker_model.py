"""The breaker against a small model of it, written another way: lists of everything that happened,
looked through again at every question, and no counters, rings, generations or lazily found changes."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from toolpolicy_api import snapshot
from toolpolicy_sidecar.resilience.breaker import (
    LEASE_GRACE_S,
    CircuitBreaker,
    Outcome,
    Permit,
    StateChange,
)
from toolpolicy_sidecar.resilience.window import BUCKETS

SHARES: dict[str, st.SearchStrategy[Any]] = {
    "failure_percent": st.one_of(st.none(), st.integers(1, 100)),
    "slow_call": st.one_of(st.none(), st.builds(snapshot.SlowCall, st.just(2_000), st.integers(1, 100))),
}
RATES = st.one_of(
    st.none(),
    st.builds(
        lambda minimum, more, **shares: snapshot.CallRates(minimum, calls=minimum + more, **shares),
        st.integers(1, 6),
        st.integers(0, 4),
        **SHARES,
    ),
    st.builds(
        snapshot.CallRates,
        minimum_calls=st.integers(1, 6),
        window_ms=st.sampled_from([20_000, 40_000]),  # buckets of one and two seconds
        **SHARES,
    ),
)
CONFIGS = st.builds(
    snapshot.Breaker,
    open_for_ms=st.sampled_from([1_000, 10_000]),
    max_open_for_ms=st.sampled_from([None, 10_000, 30_000]),
    half_open_calls=st.integers(1, 3),
    mode=st.sampled_from([*["Auto"] * 8, "Observe", "Observe", "ForcedOpen", "ForcedClosed"]),
    consecutive_failures=st.one_of(st.none(), st.integers(1, 5)),
    rates=RATES,
)
# Quarters of a second are exact in binary, so the model and the breaker see the same boundaries.
STEPS_S = st.sampled_from([0.0, 0.0, 0.25, 1.0, 3.0, 10.0, 11.0, 70.0])
DEADLINES_S = st.sampled_from([0.0, 1.0, 5.0, 100.0])
RETRY_AFTER_S = st.sampled_from([None, None, 0.0, 5.0, 20.0, 1e9])
DURATIONS_S = st.sampled_from([0.0, 2.0, 2.25])


class Sample(NamedTuple):
    at: float
    failed: bool
    slow: bool


@dataclass
class Call:
    """One attempt: when it began, in which of the model's eras, and until when it holds its place as a probe. An era
    ends with every decision, not with the time that passes."""

    permit: Permit
    era: int
    sent: float
    lease: float | None
    settled: bool = False


@dataclass
class Model:
    config: snapshot.Breaker
    state: str = "Closed"
    open_until: float | None = None
    era: int = 0
    row: list[bool] = field(default_factory=list)
    by_calls: list[Sample] = field(default_factory=list)
    by_time: list[Sample] = field(default_factory=list)
    probes: list[Call] = field(default_factory=list)
    succeeded: list[bool] = field(default_factory=list)
    """Was it slow, of each probe that succeeded."""
    openings: int = 0
    """In a row."""
    closed_at: float | None = None
    wishes: list[float] = field(default_factory=list)
    """Retry-After of failures since the last success, as moments."""

    def decide(self, state: str, at: float, sent: float | None = None) -> None:
        self.era += 1
        self.enter(state, at, sent)

    def enter(self, state: str, at: float, sent: float | None = None) -> None:
        """`sent`: the probe that is why."""
        was, self.state = self.state, state
        self.succeeded = []
        self.row, self.by_calls, self.by_time, self.probes = [], [], [], []
        self.open_until = None
        if state == "Open" and self.config.mode != "ForcedOpen":
            if was == "Closed" and self.closed_at is not None and at - self.closed_at >= self.times_s()[-1]:
                self.openings = 0
            self.openings += 1
            began = at if sent is None else sent
            self.open_until = max([began + self.times_s()[-1], *self.wishes[-1:]])
        self.wishes = []
        if state == "Closed" and was != "Closed":
            self.closed_at = at

    def times_s(self, more: int = 0) -> list[float]:
        """How long each opening in a row lasts under the limits of now, the current or last one at the end, or so
        many `more`."""
        times_s = [self.config.open_for_ms / 1000]
        for _ in range(self.openings - 1 + more):
            longest_s = (self.config.max_open_for_ms or self.config.open_for_ms) / 1000
            times_s.append(max(times_s[0], min(2 * times_s[-1], longest_s)))
        return times_s

    def forced(self, state: str, at: float) -> None:
        self.decide(state, at)
        self.openings = 0

    def lost(self, now: float) -> tuple[float, float] | None:
        """When the first probe that is given up was, and when it was sent."""
        over = [(call.lease, call.sent) for call in self.probes if call.lease is not None]
        return min((each for each in over if each[0] <= now), default=None)

    def admits(self, now: float) -> tuple[bool, bool]:
        """(passes, counts)"""
        if self.config.mode == "ForcedClosed":
            return True, True
        lost = self.lost(now)
        if lost is not None:
            self.enter("Open", *lost)
        if self.state == "Open" and self.open_until is not None and self.open_until <= now:
            self.enter("HalfOpen", now)
        free = self.state == "Closed"
        if self.state == "HalfOpen":
            in_flight = len(self.probes)
            free = in_flight == 0 or in_flight + len(self.succeeded) < self.config.half_open_calls
        return free or self.config.mode == "Observe", free

    def settle(
        self, call: Call, outcome: Outcome, now: float, duration_s: float, retry_after_s: float | None
    ) -> None:
        if self.config.mode.startswith("Forced"):
            return
        if call.era != self.era:
            return
        failed = outcome is Outcome.FAILURE
        limit = self.config.rates.slow_call if self.config.rates else None
        if failed and retry_after_s is not None:
            most_s = 300.0 if self.config.max_open_for_ms is None else self.config.max_open_for_ms / 1000
            self.wishes.append(now + min(most_s, retry_after_s))
        slow = limit is not None and duration_s > limit.over_ms / 1000
        given_up = call.lease is not None and call not in self.probes
        if given_up and (slow or outcome is not Outcome.SUCCESS):
            return
        if call.lease is not None:
            if not given_up:
                self.probes.remove(call)
            if outcome is Outcome.SUCCESS:
                self.succeeded.append(slow)
            wanted, slow_ones = self.config.half_open_calls, sum(self.succeeded)
            if failed or (limit and slow_ones and slow_ones / wanted >= limit.percent / 100):
                self.decide("Open", now, None if given_up else call.sent)
            elif outcome is Outcome.SUCCESS and len(self.succeeded) >= wanted:
                self.decide("Closed", now)
        elif self.state == "Closed" and outcome is not Outcome.NEUTRAL:
            if not failed:
                self.wishes = []
            self.row.append(failed)
            self.by_calls.append(Sample(now, failed, slow))
            self.by_time.append(Sample(now, failed, slow))
            if self.row_too_long(failed=failed) or self.rate_too_high(now):
                self.decide("Open", now)

    def row_too_long(self, *, failed: bool) -> bool:
        length = 0
        while length < len(self.row) and self.row[-1 - length]:
            length += 1
        limit = self.config.consecutive_failures
        return failed and limit is not None and length >= limit

    def rate_too_high(self, now: float) -> bool:
        rate = self.config.rates
        if rate is None:
            return False
        if rate.calls is not None:
            sample = self.by_calls[-rate.calls :]
        else:
            assert rate.window_ms is not None
            width = rate.window_ms / 1000 / BUCKETS
            sample = [each for each in self.by_time if now // width - each.at // width < BUCKETS]
        if len(sample) < rate.minimum_calls:
            return False
        failures, slow = (sum(each.failed for each in sample), sum(each.slow for each in sample))
        too_many = rate.failure_percent is not None and failures * 100 >= rate.failure_percent * len(sample)
        too_slow = rate.slow_call is not None and slow * 100 >= rate.slow_call.percent * len(sample)
        return too_many or too_slow

    def reconfigure(self, config: snapshot.Breaker, now: float) -> None:
        before, self.config = self.config, config
        if config.mode != before.mode:
            if config.mode == "ForcedOpen":
                self.forced("Open", now)
            elif config.mode == "ForcedClosed" or before.mode.startswith("Forced"):
                self.forced("Closed", now)
        # What the breaker keeps across a change of the window (see CallRates.reconfigure).
        old, new = before.rates, config.rates
        if old is None or new is None or (old.calls is None) != (new.calls is None):
            self.by_calls, self.by_time = [], []
        elif new.calls is not None and old.calls is not None:
            self.by_calls = self.by_calls[-min(new.calls, old.calls) :]
        elif old.window_ms is not None and old.window_ms != new.window_ms:
            width = old.window_ms / 1000 / BUCKETS
            latest = max((each.at // width for each in self.by_time), default=0.0)
            self.by_time = [
                each._replace(at=each.at // width * width)
                for each in self.by_time
                if latest - each.at // width < BUCKETS
            ]

    def seen_at(self, now: float) -> str:
        state, until = self.state, self.open_until
        lost = self.lost(now)
        if lost is not None:
            state, until = "Open", max([lost[1] + self.times_s(more=1)[-1], *self.wishes[-1:]])
        return "HalfOpen" if state == "Open" and until is not None and until <= now else state


class BreakerAgainstModel(RuleBasedStateMachine):
    calls: Bundle[Call] = Bundle("calls")
    steps = 0

    @initialize(config=CONFIGS)
    def start(self, config: snapshot.Breaker) -> None:
        self.now = 1000.0
        self.breaker = CircuitBreaker(config)
        self.model = Model(config)
        if config.mode == "ForcedOpen":
            self.model.state = "Open"
        self.reported: str = self.model.state

    def saw(self, *changes: StateChange | None) -> None:
        """Reported changes form one unbroken chain, so nobody who follows it is ever wrong."""
        for change in changes:
            if change is not None:
                assert change.before == self.reported
                assert change.after != change.before
                assert change.at <= self.now
                self.reported = change.after

    @rule(step_s=STEPS_S)
    def wait(self, step_s: float) -> None:
        self.now += step_s

    @rule()
    def wait_until_it_is_tried_again(self) -> None:
        self.now = max(self.now, self.model.open_until or 0.0)

    @rule(target=calls, deadline_s=DEADLINES_S)
    def one_call(self, deadline_s: float) -> Call:
        return self.acquire(deadline_s)

    def acquire(self, deadline_s: float) -> Call:
        deadline = self.now + deadline_s
        passes, counts = self.model.admits(self.now)
        verdict = self.breaker.acquire(self.now, deadline=deadline)
        self.saw(*verdict.changes)
        assert isinstance(verdict, Permit) == passes
        if not isinstance(verdict, Permit):
            assert verdict.retry_after_s is None or verdict.retry_after_s > 0
            nobodys = Permit(-1)
            nobodys.settled = True
            return Call(nobodys, era=-1, sent=self.now, lease=None, settled=True)
        assert (verdict.would_reject is None) == counts
        probe = counts and self.model.state == "HalfOpen"
        due_again = self.now + self.model.times_s(more=1)[-1]
        lease = min(deadline + LEASE_GRACE_S, due_again) if probe else None
        call = Call(verdict, self.model.era if counts else -1, self.now, lease)
        if probe:
            self.model.probes.append(call)
        return call

    @rule(call=calls, outcome=st.sampled_from(Outcome), duration_s=DURATIONS_S, wish_s=RETRY_AFTER_S)
    def one_result(self, call: Call, outcome: Outcome, duration_s: float, wish_s: float | None) -> None:
        self.record(call, outcome, duration_s, wish_s)

    def record(self, call: Call, outcome: Outcome, duration_s: float, wish_s: float | None) -> None:
        if call.settled:
            assert self.breaker.record(call.permit, outcome, self.now) is None
            return
        call.settled = True
        self.model.settle(call, outcome, self.now, duration_s, wish_s)
        change = self.breaker.record(
            call.permit, outcome, self.now, duration_s=duration_s, retry_after_s=wish_s
        )
        self.saw(change)

    @rule(
        times=st.integers(1, 6),
        outcome=st.sampled_from([Outcome.SUCCESS, Outcome.FAILURE, Outcome.FAILURE, Outcome.NEUTRAL]),
        step_s=STEPS_S,
        duration_s=DURATIONS_S,
        wish_s=RETRY_AFTER_S,
    )
    def calls_in_a_row(
        self, times: int, outcome: Outcome, step_s: float, duration_s: float, wish_s: float | None
    ) -> None:
        """Gets a circuit through its states faster than single steps at random would."""
        self.now += step_s
        for _ in range(times):
            self.record(self.acquire(1.0), outcome, duration_s, wish_s)

    @rule(outcome=st.sampled_from(Outcome), step_s=STEPS_S, duration_s=DURATIONS_S, wish_s=RETRY_AFTER_S)
    def a_late_probe(self, outcome: Outcome, step_s: float, duration_s: float, wish_s: float | None) -> None:
        """One that takes about as long as the circuit is open: the next call may be a probe beside it."""
        self.now = max(self.now, self.model.open_until or 0.0)
        late = self.acquire(100.0)
        self.now += self.model.times_s(more=1)[-1] + step_s - 1.0
        self.acquire(100.0)
        self.record(late, outcome, duration_s, wish_s)

    @rule(config=st.one_of(st.none(), CONFIGS))
    def from_outside(self, config: snapshot.Breaker | None) -> None:
        """Other limits, or a reset by hand."""
        if config is not None:
            self.model.reconfigure(config, self.now)
            self.saw(*self.breaker.reconfigure(config, self.now))
            return
        if not self.model.config.mode.startswith("Forced"):
            self.model.forced("Closed", self.now)
        self.saw(*self.breaker.reset(self.now))

    @invariant()
    def agree(self) -> None:
        BreakerAgainstModel.steps += 1
        assert self.breaker.state == self.model.state == self.reported
        assert self.breaker.open_until == self.model.open_until
        assert self.breaker.state_at(self.now).state == self.model.seen_at(self.now)
        assert len(self.breaker._leases) == len(self.model.probes)


def test_the_breaker_does_what_the_model_does() -> None:
    run_state_machine_as_test(BreakerAgainstModel, settings=_examples(60, steps=50))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_breaker_does_what_the_model_does_for_a_long_time() -> None:
    BreakerAgainstModel.steps = 0
    run_state_machine_as_test(BreakerAgainstModel, settings=_examples(3_000, steps=50))
    assert BreakerAgainstModel.steps >= 100_000


def _examples(count: int, *, steps: int) -> settings:
    return settings(max_examples=count, stateful_step_count=steps, deadline=None)
