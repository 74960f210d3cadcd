"""The time limits of a call that is not cut: it is said when they pass."""

import asyncio
from collections.abc import Callable

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.deadline import Deadline, Watch
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.tool import ToolState


class ShadowWatch(Watch):
    """Says `passed` for each limit, where a Watch would cut; never raises TimeoutError."""

    def __init__(
        self,
        clock: Clock,
        until: Deadline,
        tool: ToolState,
        passed: Callable[[Problem], None],
        began: Callable[[], None],
    ) -> None:
        """`began`: called when the first piece of an answer is there, too."""
        super().__init__(clock, None, None)
        self._began: Callable[[], None] | None = began
        self._passed, self._shadow_idle_s = passed, tool.idle_s
        loop = self._loop = asyncio.get_running_loop()
        self._limit = loop.call_later(max(0.0, until.at - clock.monotonic()), passed, until.problem)
        slow = Problem(Reason.ConnectTimeout, f"not connected within {tool.connect_s * 1000:.0f} ms")
        self._connect = loop.call_later(tool.connect_s, passed, slow)
        self._silence: asyncio.TimerHandle | None = None

    def connected(self) -> None:
        self._connect.cancel()

    def listening(self) -> None:
        if self._shadow_idle_s is not None:
            problem = Deadline(0.0, Reason.IdleTimeout, self._shadow_idle_s).problem
            self._silence = self._loop.call_later(self._shadow_idle_s, self._passed, problem)

    def heard(self) -> None:
        if self._began is not None:
            began, self._began = self._began, None
            began()
        if self._silence is not None:
            self._silence.cancel()

    def close(self) -> None:
        self._limit.cancel()
        self._connect.cancel()
        if self._silence is not None:
            self._silence.cancel()
