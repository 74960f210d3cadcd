"""How many calls at once, and who waits for a slot: first come, first served.

    enter ─┬─▶ HOLDING ─────────────────────────▶ leave
           │      ▲ a slot came free                ▲
           ├─▶ WAITING ── gave up, or out of time ──┘
           └─▶ Full

Every call is counted, limited or not, so a limit that comes with a reload knows what is in flight.
No call overtakes another one: while somebody waits, no slot is free.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_sidecar.resilience.adaptive import AdaptiveLimit, Sample


class Stage(Enum):
    WAITING = auto()
    HOLDING = auto()
    LEFT = auto()


_WAITING, _HOLDING, _LEFT = Stage.WAITING, Stage.HOLDING, Stage.LEFT
"""Looked up once: before Python 3.12 each look costs as much as making a ticket."""


class Ticket(msgspec.Struct, eq=False):
    """A slot, or a place in the queue. Give it back with `leave`, whatever happens; twice has no effect.

    Times are monotonic seconds. `until`: who still waits then has to leave."""

    entered: float
    until: float
    stage: Stage
    began: float
    """When it got its slot."""

    @property
    def waits(self) -> bool:
        return self.stage is _WAITING


@dataclass(frozen=True, slots=True)
class Full:
    """Every slot is taken, and every place in the queue."""

    limit: int
    waiting: int


class Overbooked(NamedTuple):
    """A slot that was given in any case. `waits`: it would have had to be waited for. `full`: it would have been
    refused."""

    ticket: Ticket
    waits: bool
    full: Full | None


class ConcurrencyLimiter:
    """`config` None: no limit."""

    __slots__ = ("_adaptive", "_config", "_in_flight", "_waiting")

    def __init__(self, config: snapshot.Concurrency | None) -> None:
        self._config = config
        self._adaptive = _adaptive(config)
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
        return None if self._config is None else self._limit(self._config)

    @property
    def adaptive(self) -> bool:
        return self._adaptive is not None

    def enter(self, now: float, deadline: float) -> Ticket | Full:
        """A ticket that holds a slot, or waits for one until `deadline` or its queue timeout."""
        config = self._config
        if config is None or self._in_flight < (limit := self._limit(config)):
            self._in_flight += 1
            return Ticket(now, deadline, _HOLDING, now)
        if len(self._waiting) >= config.queue:
            return Full(limit, len(self._waiting))
        timeout_ms = config.queue_timeout_ms
        until = deadline if timeout_ms is None else min(deadline, now + timeout_ms / 1000)
        ticket = Ticket(now, until, _WAITING, now)
        self._waiting[ticket] = None
        return ticket

    def overbook(self, now: float, deadline: float) -> Overbooked:
        """For who only wants to know: it gets a slot, and whoever is over the limit stands for one who waits."""
        limit, queue = self.limit, 0 if self._config is None else self._config.queue
        waiting = 0 if limit is None else max(0, self._in_flight - limit) + len(self._waiting)
        short = limit is not None and self._in_flight >= limit
        full = Full(limit, waiting) if limit is not None and short and waiting >= queue else None
        self._in_flight += 1
        return Overbooked(Ticket(now, deadline, _HOLDING, now), short and full is None, full)

    def leave(self, ticket: Ticket, now: float, sample: Sample | None = None) -> tuple[Ticket, ...]:
        """`sample`: what an adaptive limit may learn from this call. Returns the tickets that wait no longer:
        they hold a slot now or, out of time, have left."""
        stage, ticket.stage = ticket.stage, _LEFT
        if stage is _WAITING:
            del self._waiting[ticket]
        elif stage is _HOLDING:
            if sample is not None and self._adaptive is not None:
                self._adaptive.add(sample, now, began=ticket.began, in_flight=self._in_flight)
            self._in_flight -= 1
            if self._waiting:
                return self._admit(now)
        return ()

    def reconfigure(self, config: snapshot.Concurrency | None, now: float) -> tuple[Ticket, ...]:
        """Returns the same as `leave`. A lower limit takes no slot back, and a shorter queue sends nobody away:
        what is there ends, and new calls find the new limits."""
        self._config = config
        if self._adaptive is None or config is None or config.adaptive_min is None:
            self._adaptive = _adaptive(config)
        else:
            self._adaptive.reconfigure(config.adaptive_min, config.max)
        return self._admit(now)

    def _limit(self, config: snapshot.Concurrency) -> int:
        return config.max if self._adaptive is None else self._adaptive.limit

    def _admit(self, now: float) -> tuple[Ticket, ...]:
        if not self._waiting:
            return ()
        limit = self.limit
        called = []
        while self._waiting and (limit is None or self._in_flight < limit):
            ticket, _ = self._waiting.popitem(last=False)
            if now < ticket.until:
                ticket.stage, ticket.began = _HOLDING, now
                self._in_flight += 1
            else:
                ticket.stage = _LEFT
            called.append(ticket)
        return tuple(called)


def _adaptive(config: snapshot.Concurrency | None) -> AdaptiveLimit | None:
    if config is None or config.adaptive_min is None:
        return None
    return AdaptiveLimit(config.adaptive_min, config.max)
