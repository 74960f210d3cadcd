"""A clock and a loop whose hands a test can turn: what waits for a later time then has it, and nobody had to wait."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import TypeVarTuple
from weakref import WeakSet

import uvloop

from toolpolicy_sidecar.clock import SystemClock

Args = TypeVarTuple("Args")
WITHIN_S = 20


class Turned(SystemClock):
    """The system's clock, `ahead_s` later."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


def turn(clock: Turned, by_s: float) -> None:
    """It is so much later now, on the clock and on the loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    clock.ahead_s += by_s
    loop.turn(by_s)


async def turn_until(clock: Turned, by_s: float, holds: Callable[[], object]) -> None:
    """Again and again, for what begins to wait at a moment that nobody outside can see."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():
            turn(clock, by_s)
            await asyncio.sleep(0.002)


class Timer(asyncio.TimerHandle):
    """Stands for a timer of the loop, which can be taken for a sooner one."""

    __slots__ = ("pending", "real")
    pending: bool
    real: asyncio.Handle

    def cancel(self) -> None:
        self.pending = False
        self.real.cancel()
        asyncio.Handle.cancel(self)

    def run(self) -> None:
        self.pending = False
        self._run()


class Loop(uvloop.Loop):
    """The loop of a real sidecar. What was told to be called later can be turned to; the time limits of tests
    (asyncio.timeout, wait_for) are calls at a moment, and stay."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead_s = 0.0
        self._timers = WeakSet[Timer]()

    def time(self) -> float:
        return super().time() + self._ahead_s

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: contextvars.Context | None = None,
    ) -> Timer:
        timer = Timer(self.time() + delay, callback, args, self, context)
        timer.pending, timer.real = True, super().call_later(delay, timer.run)
        self._timers.add(timer)
        return timer

    def call_at(
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return super().call_later(when - self.time(), callback, *args, context=context)

    def turn(self, by_s: float) -> None:
        """What is due by then comes with the next turn of the loop, in order."""
        self._ahead_s += by_s
        now = self.time()
        for timer in sorted(self._timers, key=Timer.when):
            if timer.pending:
                timer.real.cancel()
                timer.real = super().call_later(max(0.0, timer.when() - now), timer.run)
