"""Which time limit comes first, what it is called, and the one timer that enforces it."""

import asyncio
from types import TracebackType
from typing import NamedTuple, Self

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.tool import ToolState

_NAMES = {Reason.TotalTimeout: "total", Reason.AttemptTimeout: "attempt", Reason.IdleTimeout: "idle"}


class Deadline(NamedTuple):
    """When to give up (monotonic seconds), why, and after how long."""

    at: float
    reason: Reason
    limit_s: float

    @property
    def problem(self) -> Problem:
        limit_ms = self.limit_s * 1000
        return Problem(self.reason, f"its {_NAMES[self.reason]} time of {limit_ms:g} ms is over")


def of_attempt(tool: ToolState, arrived: float, started: float) -> Deadline:
    """For one attempt that begins at `started`, of a call that arrived at `arrived`."""
    total_at, attempt_at = arrived + tool.total_s, started + tool.attempt_s
    if attempt_at < total_at:
        return Deadline(attempt_at, Reason.AttemptTimeout, tool.attempt_s)
    return Deadline(total_at, Reason.TotalTimeout, tool.total_s)


class Watch:
    """The timer of one attempt; `async with` it, TimeoutError comes out when it fires. No deadline: it never does.

    Idle time runs only between `listening` and `heard`, while the tool is being waited for."""

    def __init__(self, clock: Clock, deadline: Deadline | None, idle_s: float | None) -> None:
        self._deadline = deadline
        self._idle_s = idle_s
        # One look at both clocks: the loop's own may stand still while it works.
        self._offset = asyncio.get_running_loop().time() - clock.monotonic()
        self._clock = clock
        self._idle = False
        self._timer = asyncio.timeout_at(None if deadline is None else deadline.at + self._offset)

    async def __aenter__(self) -> Self:
        await self._timer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._timer.__aexit__(kind, error, trace)

    def listening(self) -> None:
        if self._idle_s is None or self._deadline is None:
            return
        at = self._clock.monotonic() + self._idle_s
        if at < self._deadline.at:
            self._idle = True
            self._timer.reschedule(at + self._offset)

    def heard(self) -> None:
        if self._idle and self._deadline is not None:
            self._idle = False
            self._timer.reschedule(self._deadline.at + self._offset)

    @property
    def problem(self) -> Problem:
        """Once TimeoutError came out."""
        if self._deadline is None:
            raise RuntimeError("a watch without a deadline cannot run out")
        if self._idle and self._idle_s is not None:
            return Deadline(0.0, Reason.IdleTimeout, self._idle_s).problem
        return self._deadline.problem
