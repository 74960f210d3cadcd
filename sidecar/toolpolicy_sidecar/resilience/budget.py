"""How many retries one upstream gets: a share of its calls, so that retries cannot be what keeps it down.

The share is Linkerd's and Envoy's (20 %), the window Linkerd's (10 s). Like Envoy's, the floor is an alternative
to the share and not on top of it. From 15 calls a window on, the load of any ten seconds and the ten before them
together grows by at most 20 %; a burst of retries when a storm begins spends what the calm before it has saved.
"""

from array import array

PERCENT = 20
FLOOR = 3
"""Retries in a window that are always allowed: else a tool that is called once a minute had none."""
WINDOW_S = 10.0
_SLOTS = 10
_SLOT_S = WINDOW_S / _SLOTS


class RetryBudget:
    """Calls and retries of the last ten seconds, by the second. Time is monotonic seconds."""

    __slots__ = ("_calls", "_newest", "_retries")

    def __init__(self) -> None:
        self._calls = array("I", bytes(4 * _SLOTS))
        self._retries = array("I", bytes(4 * _SLOTS))
        self._newest = 0

    def deposit(self, now: float) -> None:
        """A call was made, whatever its number of attempts."""
        self._calls[self._slot(now)] += 1

    def withdraw(self, now: float) -> bool:
        """Takes one retry, if there is one."""
        slot = self._slot(now)
        if sum(self._retries) >= max(FLOOR, sum(self._calls) * PERCENT // 100):
            return False
        self._retries[slot] += 1
        return True

    def _slot(self, now: float) -> int:
        index = int(now // _SLOT_S)
        if index > self._newest:
            for passed in range(self._newest + 1, min(index, self._newest + _SLOTS) + 1):
                self._calls[passed % _SLOTS] = self._retries[passed % _SLOTS] = 0
            self._newest = index
        return self._newest % _SLOTS
