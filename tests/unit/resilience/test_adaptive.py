"""The adaptive limit in front of a scripted tool that has a capacity and a queue, in virtual time."""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from tests.measured import measured
from toolpolicy_api.snapshot import Concurrency
from toolpolicy_sidecar.resilience.adaptive import START, AdaptiveLimit, Sample
from toolpolicy_sidecar.resilience.concurrency import ConcurrencyLimiter, Full, Ticket

SERVICE_S = 1.0
LATE_S = 20.0
"""The timeout of an attempt."""


@dataclass
class ScriptedTool:
    """`capacity` calls are worked on at once, each for about `service_s`; `line` more wait, and what is more is
    answered with a 429. `spread` is the coefficient of variation (lognormal)."""

    random: random.Random
    capacity: int
    service_s: float = SERVICE_S
    spread: float = 0.5
    line: int = 10**9
    busy: int = 0
    waiting: deque[Ticket] = field(default_factory=deque)

    def duration_s(self) -> float:
        if not self.spread:
            return self.service_s
        sigma = math.sqrt(math.log(1 + self.spread**2))
        return self.service_s * self.random.lognormvariate(-sigma * sigma / 2, sigma)


class World:
    """As many agents as there are slots, and `demand` at most."""

    def __init__(
        self, tool: ScriptedTool, *, demand: int = 10**9, lowest: int = 1, highest: int = 500
    ) -> None:
        self.tool, self.demand, self.now = tool, demand, 0.0
        self.limiter = ConcurrencyLimiter(Concurrency(max=highest, adaptive_min=lowest))
        self._events: list[tuple[float, int, Ticket, bool]] = []
        self._number = 0

    def run(self, until: float) -> tuple[float, float]:
        """Mean limit, and calls per second that the tool finished."""
        started, area, done = self.now, 0.0, 0
        while True:
            self._fill()
            at, _, ticket, served = self._events[0]
            limit = self.limiter.limit
            assert limit is not None
            area += (min(at, until) - self.now) * limit
            if at > until:
                self.now = until
                return area / (until - started), done / (until - started)
            heapq.heappop(self._events)
            self.now = at
            done += served
            self._end(ticket, served=served)

    def _fill(self) -> None:
        while self.limiter.in_flight < self.demand:
            ticket = self.limiter.enter(self.now, math.inf)
            if isinstance(ticket, Full):
                return
            if self.tool.busy < self.tool.capacity:
                self._work(ticket)
            elif len(self.tool.waiting) < self.tool.line:
                self.tool.waiting.append(ticket)
            else:
                self._at(self.now + 0.01, ticket, served=False)

    def _work(self, ticket: Ticket) -> None:
        self.tool.busy += 1
        self._at(self.now + self.tool.duration_s(), ticket, served=True)

    def _at(self, at: float, ticket: Ticket, *, served: bool) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, ticket, served))

    def _end(self, ticket: Ticket, *, served: bool) -> None:
        latency_s = self.now - ticket.began
        self.limiter.leave(ticket, self.now, Sample(latency_s, dropped=not served or latency_s > LATE_S))
        if served:
            self.tool.busy -= 1
            while self.tool.waiting and self.tool.busy < self.tool.capacity:
                self._work(self.tool.waiting.popleft())


def tool(capacity: int, **more: float) -> ScriptedTool:
    return ScriptedTool(random.Random(7), capacity, **more)  # type: ignore[arg-type] # noqa: S311 -- no secrets


@pytest.mark.parametrize(("capacity", "spread"), [(8, 1.0), (20, 0.0), (20, 1.0), (60, 0.5)])
def test_finds_the_capacity_and_keeps_the_tool_busy(capacity: int, spread: float) -> None:
    world = World(tool(capacity, spread=spread))
    world.run(300)
    limit, per_s = world.run(600)
    measured(f"adaptive limit: capacity {capacity}, spread {spread}: limit {limit:.1f}, {per_s:.1f} calls/s")
    assert 0.8 * capacity <= limit <= 1.2 * capacity + 1
    assert per_s >= 0.9 * capacity / SERVICE_S


def test_follows_a_capacity_that_falls_and_comes_back() -> None:
    world = World(tool(20))
    world.run(300)
    world.tool.capacity = 5
    world.run(600)
    limit, per_s = world.run(900)
    assert 4 <= limit <= 7
    assert per_s >= 4.5
    world.tool.capacity = 20
    world.run(1200)
    limit, per_s = world.run(1500)
    assert 16 <= limit <= 25
    assert per_s >= 18


def test_a_tool_that_becomes_slower_but_not_fuller_is_not_taken_down() -> None:
    world = World(tool(20))
    world.run(300)
    world.tool.service_s = 3.0
    world.run(900)
    limit, per_s = world.run(1500)
    assert 16 <= limit <= 26
    assert per_s >= 0.85 * 20 / 3


def test_a_tool_that_says_429_gets_no_more_than_it_takes() -> None:
    world = World(tool(20, line=0))
    world.run(300)
    limit, per_s = world.run(600)
    assert 16 <= limit <= 24
    assert per_s >= 17


def test_comes_back_after_an_outage() -> None:
    world = World(tool(20))
    world.run(300)
    world.tool.service_s = LATE_S + 1  # every call runs out of its time
    world.run(600)
    world.tool.service_s = SERVICE_S
    world.run(1200)
    limit, per_s = world.run(1400)
    assert 16 <= limit <= 24
    assert per_s >= 18


def test_a_limit_that_nobody_needs_does_not_refuse_anybody() -> None:
    world = World(tool(20), demand=6)
    world.run(300)
    limit, per_s = world.run(600)
    assert limit > 6
    assert per_s == pytest.approx(6, rel=0.1)


def test_never_leaves_its_bounds() -> None:
    world = World(tool(20), lowest=3, highest=9)
    for until in range(10, 600, 10):
        world.run(until)
        assert world.limiter.limit is not None
        assert 3 <= world.limiter.limit <= 9
    world = World(tool(2), lowest=6, highest=50)
    world.run(300)
    assert world.run(600)[0] >= 6


def test_begins_low_and_a_reload_keeps_what_was_learned() -> None:
    limit = AdaptiveLimit(1, 100)
    assert limit.limit == START
    limit.reconfigure(10, 100)
    assert limit.limit == 10
    limit.reconfigure(1, 7)
    assert limit.limit == 7
    assert AdaptiveLimit(1, 2).limit == 2


def test_without_the_option_the_limit_is_the_limit() -> None:
    limiter = ConcurrencyLimiter(Concurrency(max=9))
    for _ in range(300):
        ticket = limiter.enter(0.0, 1.0)
        assert isinstance(ticket, Ticket)
        limiter.leave(ticket, 100.0, Sample(100.0))
    assert limiter.limit == 9
    limiter.reconfigure(Concurrency(max=9, adaptive_min=2), 100.0)
    assert limiter.limit == START
    limiter.reconfigure(Concurrency(max=9), 100.0)
    assert limiter.limit == 9
