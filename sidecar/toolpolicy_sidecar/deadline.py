"""Which time limit comes first, what it is called, and the one timer that enforces it."""

import asyncio
import re
from types import TracebackType
from typing import NamedTuple, Self

from toolpolicy_api import snapshot
from toolpolicy_sidecar.call import Incoming
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.tool import ToolState

_NAMES = {Reason.TotalTimeout: "total", Reason.AttemptTimeout: "attempt", Reason.IdleTimeout: "idle"}
TIMEOUT_HEADER = snapshot.TIMEOUT_HEADER.lower().encode()
"""By it an agent may say how long it waits, and the tool is told how long is left."""
_GRPC_HEADER = b"grpc-timeout"
_GRPC_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_GRPC_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class Deadline(NamedTuple):
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
        return Deadline(incoming.arrived + agent_s, Reason.TotalTimeout, agent_s, by_agent=True)
    return Deadline(incoming.arrived + tool.total_s, Reason.TotalTimeout, tool.total_s)


def of_attempt(total: Deadline, attempt_s: float, started: float) -> Deadline:
    """For one attempt that begins at `started`."""
    at = started + attempt_s
    return Deadline(at, Reason.AttemptTimeout, attempt_s) if at < total.at else total


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

    def connected(self) -> None:
        """Nothing depends on it here: connecting has its own timer, in the pool."""

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
