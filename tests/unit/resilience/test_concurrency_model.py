"""The limiter against a small model of it, written another way: one list of all calls in the order they came,
and every question answered by looking it through."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from toolpolicy_api.snapshot import Concurrency
from toolpolicy_sidecar.resilience.concurrency import ConcurrencyLimiter, Full, Ticket

CONFIGS = st.one_of(
    st.none(),
    st.builds(
        Concurrency,
        max=st.integers(1, 4),
        queue=st.integers(0, 4),
        queue_timeout_ms=st.one_of(st.none(), st.integers(1, 2000)),
    ),
)


@dataclass(eq=False)
class Call:
    ticket: Ticket
    until: float
    stage: str


class Model:
    """Calls in the order in which they came."""

    def __init__(self, config: Concurrency | None) -> None:
        self.config = config
        self.calls: list[Call] = []

    def of(self, stage: str) -> list[Call]:
        return [call for call in self.calls if call.stage == stage]

    def settle(self, now: float) -> list[Call]:
        """Gives free slots to those who wait; who is next and out of time is sent away."""
        told = []
        for call in self.of("WAITING"):
            if self.config and len(self.of("HOLDING")) >= self.config.max:
                break
            call.stage = "HOLDING" if now < call.until else "LEFT"
            told.append(call)
        return told

    def verdict(self) -> str:
        if self.config is None or len(self.of("HOLDING")) < self.config.max:
            return "HOLDING"
        return "WAITING" if len(self.of("WAITING")) < self.config.queue else "Full"


class LimiterAgainstModel(RuleBasedStateMachine):
    known = Bundle("known")

    @initialize(config=CONFIGS)
    def begin(self, config: Concurrency | None) -> None:
        self.now = 0.0
        self.limiter, self.model = ConcurrencyLimiter(config), Model(config)

    @rule(step_s=st.sampled_from([0.001, 0.5, 3.0]))
    def wait(self, step_s: float) -> None:
        self.now += step_s

    @rule(target=known, budget_s=st.sampled_from([0.0, 0.5, 10.0]))
    def enter(self, budget_s: float) -> Call | MultipleResults[Call]:
        wanted = self.model.verdict()
        deadline = self.now + budget_s
        ticket = self.limiter.enter(self.now, deadline)
        if isinstance(ticket, Full):
            assert wanted == "Full"
            return multiple()
        assert ticket.stage.name == wanted
        config = self.model.config
        timeout_ms = config.queue_timeout_ms if config else None
        until = deadline if timeout_ms is None else min(deadline, self.now + timeout_ms / 1000)
        call = Call(ticket, until, wanted)
        self.model.calls.append(call)
        return call

    @rule(call=known)
    def leave(self, call: Call) -> None:
        """A completion, a cancellation, a timeout: the same to the limiter. Some leave twice."""
        before, call.stage = call.stage, "LEFT"
        told = self.model.settle(self.now) if before == "HOLDING" else []
        assert self.limiter.leave(call.ticket, self.now) == tuple(other.ticket for other in told)

    @rule(config=CONFIGS)
    def reload(self, config: Concurrency | None) -> None:
        self.model.config = config
        told = self.model.settle(self.now)
        assert self.limiter.reconfigure(config, self.now) == tuple(call.ticket for call in told)

    @invariant()
    def agree(self) -> None:
        assert self.limiter.in_flight == len(self.model.of("HOLDING"))
        assert self.limiter.waiting == len(self.model.of("WAITING"))
        assert all(call.ticket.stage.name == call.stage for call in self.model.calls)

    @invariant()
    def no_slot_is_free_while_somebody_waits(self) -> None:
        if self.limiter.waiting:
            assert self.limiter.limit is not None
            assert self.limiter.in_flight >= self.limiter.limit

    def teardown(self) -> None:
        """Whatever happened: once all have left, nothing is left."""
        if hasattr(self, "model"):
            for call in self.model.calls:
                self.limiter.leave(call.ticket, self.now)
            assert (self.limiter.in_flight, self.limiter.waiting) == (0, 0)


LimiterAgainstModel.TestCase.settings = settings(max_examples=40, stateful_step_count=50)
TestLimiterAgainstModel = LimiterAgainstModel.TestCase


@pytest.mark.long
@pytest.mark.timeout(1200)
class TestLimiterAgainstModelForLong(LimiterAgainstModel.TestCase):  # type: ignore[misc,valid-type] # hypothesis makes it
    """At least 100,000 steps."""

    settings = settings(max_examples=2500, stateful_step_count=50)
