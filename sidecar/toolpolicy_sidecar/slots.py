"""Waiting for a slot. What is decided, `resilience/concurrency.py` decides; here somebody waits."""

import asyncio
from typing import NamedTuple

from toolpolicy_api import snapshot
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.resilience.adaptive import Sample
from toolpolicy_sidecar.resilience.concurrency import ConcurrencyLimiter, Full, Overbooked, Stage, Ticket
from toolpolicy_sidecar.upstream.origin import Place


class SlotsKey(NamedTuple):
    """Whose they are; `tool` None: all calls of the server. At another place it is another tool."""

    policy: str
    server: str
    tool: str | None
    place: Place


class Slots:
    """Of a tool or of a server; outlives a reload, as a circuit does. `owner` is how a refusal calls it."""

    __slots__ = ("_clock", "_limiter", "_owner", "_turns", "learns")

    def __init__(self, owner: str, config: snapshot.Concurrency | None, clock: Clock) -> None:
        self._owner, self._clock = owner, clock
        self._limiter = ConcurrencyLimiter(config)
        self.learns = self._limiter.adaptive
        """From the samples that it is left with."""
        self._turns: dict[Ticket, asyncio.Future[None]] = {}

    @property
    def in_flight(self) -> int:
        return self._limiter.in_flight

    @property
    def waiting(self) -> int:
        return self._limiter.waiting

    @property
    def limit(self) -> int | None:
        """None: there is none."""
        return self._limiter.limit

    def reload(self, config: snapshot.Concurrency | None) -> None:
        self._call(self._limiter.reconfigure(config, self._clock.monotonic()))
        self.learns = self._limiter.adaptive

    def enter(self, now: float, deadline: float) -> Ticket:
        """Holds a slot; or waits for one until `deadline` (monotonic seconds) at most, and then its `turn` is to be
        awaited. Raises Stopped: there is no slot, and no place to wait."""
        ticket = self._limiter.enter(now, deadline)
        if isinstance(ticket, Full):
            raise Stopped(self._full(ticket))
        return ticket

    async def turn(self, ticket: Ticket) -> None:
        """Until it holds a slot. Raises Stopped: none came free in time."""
        if not await self._turn(ticket):
            raise Stopped(self._late(ticket))

    def overbook(self, now: float, deadline: float) -> Overbooked:
        """Holds a slot in any case, and says what `enter` would have come to."""
        return self._limiter.overbook(now, deadline)

    def leave(self, ticket: Ticket, sample: Sample | None = None) -> None:
        called = self._limiter.leave(ticket, self._clock.monotonic(), sample)
        if called:
            self._call(called)

    async def _turn(self, ticket: Ticket) -> bool:
        """Until it waits no longer; true: it has a slot. Cancelled, it leaves, even with a slot that it was given
        at that very moment."""
        loop = asyncio.get_running_loop()
        turn = self._turns[ticket] = loop.create_future()
        timer = loop.call_later(ticket.until - self._clock.monotonic(), self._out_of_time, ticket)
        try:
            await turn
        except BaseException:
            self._turns.pop(ticket, None)
            self.leave(ticket)
            raise
        finally:
            timer.cancel()
        return ticket.stage is Stage.HOLDING

    def _out_of_time(self, ticket: Ticket) -> None:
        if ticket.waits:
            self.leave(ticket)
            self._call((ticket,))

    def _call(self, tickets: tuple[Ticket, ...]) -> None:
        for ticket in tickets:
            turn = self._turns.pop(ticket)
            if not turn.done():
                turn.set_result(None)

    def _full(self, full: Full) -> Problem:
        text = f"all slots of {self._owner} are taken ({full.limit} at once are allowed)"
        if full.waiting:
            text += f", and {full.waiting} more wait"
        return Problem(Reason.ConcurrencyLimit, text)

    def _late(self, ticket: Ticket) -> Problem:
        waited_ms = (ticket.until - ticket.entered) * 1000
        return Problem(Reason.QueueTimeout, f"no slot of {self._owner} came free within {waited_ms:.0f} ms")
