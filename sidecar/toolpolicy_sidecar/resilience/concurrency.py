"""How many calls at once, and who waits for a slot: first come, first served.

    enter ─┬─▶ HOLDING ─────────────────────────▶ leave
           │      ▲ a slot came free                ▲
           ├─▶ WAITING ── gave up, or out of time ──┘
           └─▶ Full

Every call is counted, limited or not, so a limit that comes with a reload knows what is in flight.
No call overtakes another one: while somebody waits, no slot is free.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto

from toolpolicy_api import snapshot


class Stage(Enum):
    WAITING = auto()
    HOLDING = auto()
    LEFT = auto()


@dataclass(slots=True, eq=False)
class Ticket:
    """A slot, or a place in the queue. Give it back with `leave`, whatever happens; twice has no effect.

    Times are monotonic seconds. `until`: who still waits then has to leave."""

    entered: float
    until: float
    stage: Stage
    queued_s: float = 0.0
    """How long it waited for the slot that it holds."""


@dataclass(frozen=True, slots=True)
class Full:
    """Every slot is taken, and every place in the queue."""

    limit: int
    waiting: int


class ConcurrencyLimiter:
    """`config` None: no limit."""

    def __init__(self, config: snapshot.Concurrency | None) -> None:
        self._config = config
        self._in_flight = 0
        self._waiting: OrderedDict[Ticket, None] = (
            OrderedDict()
        )  # in turn, and quick to leave from the middle

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def limit(self) -> int | None:
        return self._config.max if self._config else None

    def enter(self, now: float, deadline: float) -> Ticket | Full:
        """A ticket that holds a slot, or waits for one until `deadline` or its queue timeout."""
        config = self._config
        if config is None or self._in_flight < config.max:
            self._in_flight += 1
            return Ticket(now, deadline, Stage.HOLDING)
        if len(self._waiting) >= config.queue:
            return Full(config.max, len(self._waiting))
        timeout_ms = config.queue_timeout_ms
        until = deadline if timeout_ms is None else min(deadline, now + timeout_ms / 1000)
        ticket = Ticket(now, until, Stage.WAITING)
        self._waiting[ticket] = None
        return ticket

    def leave(self, ticket: Ticket, now: float) -> tuple[Ticket, ...]:
        """Returns the tickets that wait no longer: they hold a slot now or, out of time, have left."""
        stage, ticket.stage = ticket.stage, Stage.LEFT
        if stage is Stage.WAITING:
            del self._waiting[ticket]
        elif stage is Stage.HOLDING:
            self._in_flight -= 1
            return self._admit(now)
        return ()

    def reconfigure(self, config: snapshot.Concurrency | None, now: float) -> tuple[Ticket, ...]:
        """Returns the same as `leave`. A lower limit takes no slot back, and a shorter queue sends nobody away:
        what is there ends, and new calls find the new limits."""
        self._config = config
        return self._admit(now)

    def _admit(self, now: float) -> tuple[Ticket, ...]:
        if not self._waiting:
            return ()
        limit = math.inf if self._config is None else self._config.max
        called = []
        while self._waiting and self._in_flight < limit:
            ticket, _ = self._waiting.popitem(last=False)
            if now < ticket.until:
                ticket.stage, ticket.queued_s = Stage.HOLDING, now - ticket.entered
                self._in_flight += 1
            else:
                ticket.stage = Stage.LEFT
            called.append(ticket)
        return tuple(called)
