"""How long a search may go on."""

from collections.abc import Callable

from toolpolicy_sidecar.redact.verdict import TooCostly

BUDGET_S = 5.0
BUDGET_S_PER_BYTE = 5e-6
LEAST_BUDGET_S = 0.1
"""Of CPU time, for all matches of a pattern or a detector in one text, or in the many short ones of a document. Those
with a match every few bytes need a tenth of it; what needs all of it is made for that."""
CHECKED_MATCHES = 16


class Patience:
    """One search is linear, but a pattern such as `a.*b|a` looks to the end of the text for each of its matches."""

    __slots__ = ("_count", "_cpu_s", "_ends_s", "_size_bytes")

    def __init__(self, cpu_s: Callable[[], float], size_bytes: int) -> None:
        self._cpu_s, self._size_bytes = cpu_s, size_bytes
        self._count, self._ends_s = 0, 0.0

    def spend(self) -> None:
        """A search more. Raises TooCostly."""
        self._count += 1
        if self._count % CHECKED_MATCHES == 0:
            self.check()

    def check(self) -> None:
        """CHECKED_MATCHES searches more. Raises TooCostly."""
        now_s = self._cpu_s()
        if not self._ends_s:
            granted_s = LEAST_BUDGET_S + self._size_bytes * BUDGET_S_PER_BYTE
            self._ends_s = now_s + min(BUDGET_S, granted_s)
        elif now_s > self._ends_s:
            raise TooCostly("to look for what the policy names takes too long on it")


class Patiences(dict[int, Patience]):
    """One for each rule, by its order, on one text."""

    def __init__(self, cpu_s: Callable[[], float], size_bytes: int) -> None:
        super().__init__()
        self._cpu_s, self._size_bytes = cpu_s, size_bytes

    def __missing__(self, order: int) -> Patience:
        found = self[order] = Patience(self._cpu_s, self._size_bytes)
        return found
