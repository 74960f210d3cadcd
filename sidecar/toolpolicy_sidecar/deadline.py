"""Which time limit comes first, what it is called, and the one timer that enforces it."""

import asyncio
import re
from types import TracebackType
from typing import Self

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_sidecar.call import Incoming
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.tool import ToolState

_TOTAL, _ATTEMPT = Reason.TotalTimeout, Reason.AttemptTimeout
_NAMES = {_TOTAL: "total", _ATTEMPT: "attempt", Reason.IdleTimeout: "idle"}
TIMEOUT_HEADER = snapshot.TIMEOUT_HEADER.lower().encode()
"""By it an agent may say how long it waits, and the tool is told how long is left."""
_GRPC_HEADER = b"grpc-timeout"
_GRPC_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_GRPC_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class Deadline(msgspec.Struct, frozen=True):
    """When to give up (monotonic seconds), why, and after how long. `by_agent`: the policy would have waited longer."""

    at: float
    reason: Reason
    limit_s: float
    by_agent: bool = False

    @property
    def problem(self) -> Problem:
        limit_ms = self.limit_s * 1000
        if self.by_agent:
            return Problem(self.reason, f"the {limit_ms:g} ms that the agent gave it are over")
        return Problem(self.reason, f"its {_NAMES[self.reason]} time of {limit_ms:g} ms is over")


def of_call(tool: ToolState, incoming: Incoming) -> Deadline:
    """Over all attempts, and whatever is between them."""
    said = TIMEOUT_HEADER in incoming.noted or _GRPC_HEADER in incoming.noted
    agent_s = agent_timeout_s(incoming) if said else None
    if agent_s is not None and agent_s < tool.total_s:
        return Deadline(incoming.arrived + agent_s, _TOTAL, agent_s, by_agent=True)
    return Deadline(incoming.arrived + tool.total_s, _TOTAL, tool.total_s)


def of_attempt(total: Deadline, attempt_s: float, started: float) -> Deadline:
    """For one attempt that begins at `started`."""
    at = started + attempt_s
    return Deadline(at, _ATTEMPT, attempt_s) if at < total.at else total


def agent_timeout_s(incoming: Incoming) -> float | None:
    """The least of X-Request-Timeout-Ms and grpc-timeout; None: it says neither, or nothing that is a time."""
    found = []
    millis = incoming.text(TIMEOUT_HEADER).strip()
    if millis.isascii() and millis.isdigit():
        found.append(float(millis) / 1000)
    match = _GRPC_TIMEOUT.fullmatch(incoming.text(_GRPC_HEADER).strip())
    if match:
        found.append(int(match[1]) * _GRPC_UNITS_S[match[2]])
    return min((seconds for seconds in found if seconds > 0), default=None)


class Watch:
    """The timer of one attempt; `with` it in a task, TimeoutError comes out when it fires. No deadline: it never does.

    As asyncio.timeout_at, which costs a call as much as all rules together: nothing has to be awaited to set it. Idle
    time runs only between `listening` and `heard`, while the tool is being waited for."""

    __slots__ = ("_clock", "_deadline", "_fired", "_idle", "_idle_s", "_task", "_timer", "_were_cancelling")

    def __init__(self, clock: Clock, deadline: Deadline | None, idle_s: float | None) -> None:
        self._clock, self._deadline = clock, deadline
        self._idle_s = None if deadline is None else idle_s
        self._idle = self._fired = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        if self._deadline is not None:
            task = asyncio.current_task()
            if task is None:
                raise RuntimeError("a watch cancels a task: use it in one")
            self._task, self._were_cancelling = task, task.cancelling()
            left_s = self._deadline.at - self._clock.monotonic()
            self._timer = task.get_loop().call_later(left_s, self._fire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._fired:
            return
        # Who else cancelled the task wants it cancelled.
        if self._task.uncancel() <= self._were_cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def connected(self) -> None:
        """Nothing depends on it here: connecting has its own timer, in the pool."""

    def listening(self) -> None:
        if self._idle_s is None or self._deadline is None:
            return
        at = self._clock.monotonic() + self._idle_s
        if at < self._deadline.at:
            self._idle = True
            self._set(at)

    def heard(self) -> None:
        if self._idle and self._deadline is not None:
            self._idle = False
            self._set(self._deadline.at)

    @property
    def problem(self) -> Problem:
        """Once TimeoutError came out."""
        if self._deadline is None:
            raise RuntimeError("a watch without a deadline cannot run out")
        if self._idle and self._idle_s is not None:
            return Deadline(0.0, Reason.IdleTimeout, self._idle_s).problem
        return self._deadline.problem

    def _set(self, at: float) -> None:
        if self._fired:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._task.get_loop().call_later(at - self._clock.monotonic(), self._fire)

    def _fire(self) -> None:
        self._fired = True
        self._task.cancel()
