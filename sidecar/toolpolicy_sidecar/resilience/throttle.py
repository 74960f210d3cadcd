"""A server that answers 429, or 503 with a time, is left alone for as long as it asks. For the circuit a 429 is no
failure; a 503 is one, and keeps its own count of it."""

DEFAULT_PAUSE_S = 1.0
"""Where a 429 says no time, or none that can be read."""
LONGEST_PAUSE_S = 60.0
"""Then one asks again: a wrong Retry-After must not lock a tool out for a day."""


def throttles(status: int, retry_after_s: float | None) -> bool:
    """Does this answer ask for a pause? A 503 does only if it says how long: else it is one failure like others."""
    return status == 429 or (status == 503 and retry_after_s is not None)


EARLY_S = 0.002
"""A loop that counts milliseconds may wake a sleeper one too early: the gate must be open by then."""


class ThrottleGate:
    """Of one tool at one upstream. Time is monotonic seconds."""

    __slots__ = ("_shut_until",)

    def __init__(self) -> None:
        self._shut_until = 0.0

    def heard(self, now: float, status: int, retry_after_s: float | None) -> float:
        """A failed answer came, with this Retry-After: shuts if it asks for a pause. Seconds that another attempt
        has to wait."""
        wait_s = retry_after_s or 0.0
        if not throttles(status, retry_after_s):
            return wait_s
        self.shut(now, retry_after_s)
        return max(wait_s, self.left_s(now) + EARLY_S)

    def shut(self, now: float, retry_after_s: float | None) -> None:
        """It asked for a pause. Of several the longest holds: they answer calls that overlapped."""
        pause_s = DEFAULT_PAUSE_S if retry_after_s is None else min(retry_after_s, LONGEST_PAUSE_S)
        self._shut_until = max(self._shut_until, now + pause_s)

    def open(self) -> None:
        self._shut_until = 0.0

    def left_s(self, now: float) -> float:
        """Seconds until calls pass; 0: they do."""
        return max(0.0, self._shut_until - now)
