"""The two times there are. An argument everywhere, so that tests can turn the hands."""

import time
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds. Everything is decided by this one."""
        ...

    def unix_ms(self) -> int:
        """Milliseconds since 1970, for people to read."""
        ...


class SystemClock:
    monotonic = staticmethod(time.monotonic)
    """Itself, and no method around it: a call asks for it a dozen times."""

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000
