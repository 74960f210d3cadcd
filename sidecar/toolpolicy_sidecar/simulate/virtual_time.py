"""An event loop whose clock jumps to the next timer as soon as nothing is ready: an hour of waiting takes no time.

Only documented joints of asyncio are used: a loop takes its selector as an argument, asks `time()` for the time, and
lets the selector wait. Nothing here depends on real time, so that the order of events is the same in every run."""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any


class StalledError(RuntimeError):
    """Every task waits for something that no timer brings: a defect of the simulator."""

    def __init__(self) -> None:
        super().__init__("the simulation waits for something that never comes")


class _Jump(selectors.BaseSelector):
    """Waits by turning the clock. No file is ever ready: there are none."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._keys: dict[int, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StalledError
        if timeout > 0:
            self.now_s += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """asyncio has one for itself, by which other threads and signals would wake it."""
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, descriptor, events, data)
        self._keys[descriptor] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """Is the `Clock` as well, in seconds since the simulation began."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s

    def monotonic(self) -> float:
        return self._jump.now_s

    def unix_ms(self) -> int:
        return round(self._jump.now_s * 1000)
