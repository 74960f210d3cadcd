"""What sessions are like: calls, errors, turns and duration of each, known when it is over. Pure but for its metrics.

A turn is what an agent does between two thoughts: calls that run side by side belong to one, a call that begins when
none of its session runs begins the next. An agent that loops has many."""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.reasons import FAILED
from toolpolicy_sidecar.record import CallRecord

SESSIONS = 4096
"""At most, about 300 bytes each; the one that was silent longest ends early."""
IDLE_S = 300.0
"""A session that says nothing for so long is over."""


class Ended(NamedTuple):
    """`duration_s`: from the beginning of its first call to the end of its last one."""

    policy: str
    calls: int
    errors: int
    iterations: int
    duration_s: float


class _Session:
    __slots__ = ("began", "busy_until", "calls", "errors", "iterations")

    def __init__(self, began: float) -> None:
        self.began = self.busy_until = began
        self.calls = self.errors = self.iterations = 0


class Sessions:
    """`ended` is called for each session that is over."""

    def __init__(
        self,
        ended: Callable[[Ended], None],
        clock: Clock,
        *,
        limit: int = SESSIONS,
        idle_s: float = IDLE_S,
    ) -> None:
        self._ended, self._limit, self._idle_s = ended, limit, idle_s
        self._now = clock.monotonic
        self._live: OrderedDict[tuple[str, str], _Session] = OrderedDict()
        self._due = 0.0
        """Before this, none is over."""

    def add(self, record: CallRecord) -> None:
        """A call that is over now. Calls of the sidecar's own, and such as belong to no session, count for none: a
        trace that began with the call itself says nothing of others."""
        identifier = record.session
        if identifier is None:
            if record.own_trace or record.trace_id is None:
                return
            identifier = record.trace_id
        if record.stands_for is not None:
            return
        now = self._now()
        if now >= self._due:
            self.expire()
        key, began = (record.policy, identifier), now - record.duration_ms / 1000
        session = self._live.get(key)
        if session is None:
            session = self._live[key] = _Session(began)
            if len(self._live) > self._limit:
                self._end(next(iter(self._live)))
        else:
            self._live.move_to_end(key)
        session.calls += 1
        if record.outcome in FAILED:
            session.errors += 1
        if began >= session.busy_until or not session.iterations:
            session.iterations += 1
        if began < session.began:  # noqa: PLR1730 -- of every call
            session.began = began
        session.busy_until = now

    def expire(self) -> None:
        """Ends those that have been silent."""
        now = self._now()
        while self._live:
            key, oldest = next(iter(self._live.items()))
            self._due = oldest.busy_until + self._idle_s
            if now < self._due:
                return
            self._end(key)

    @property
    def live(self) -> int:
        return len(self._live)

    def longest(self) -> dict[str, int]:
        """Policy → iterations of its longest session so far: a loop shows while it runs."""
        longest: dict[str, int] = {}
        for (policy, _), session in self._live.items():
            longest[policy] = max(longest.get(policy, 0), session.iterations)
        return longest

    def _end(self, key: tuple[str, str]) -> None:
        session = self._live.pop(key)
        self._ended(
            Ended(
                key[0],
                session.calls,
                session.errors,
                session.iterations,
                session.busy_until - session.began,
            )
        )
