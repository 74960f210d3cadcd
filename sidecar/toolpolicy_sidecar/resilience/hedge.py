"""Hedging: a second attempt beside a first one that is slow, for tools that may be called twice.

After "The Tail at Scale" (Dean and Barroso, 2013): sent only once the first attempt has taken longer than the tool's
own 95th percentile, a hedge costs about one call in twenty and cuts what lies beyond. It is paid from the retry
budget, so a tool that is slow because it is overloaded gets no more of them than of retries.
"""

from typing import Protocol

from toolpolicy_sidecar.resilience.latency import Latencies

SHARE = 0.95
MINIMUM_CALLS = 100
"""Below, five calls or fewer would say what is slow."""


class Budget(Protocol):
    def withdraw(self, now: float) -> bool:
        """Takes one retry, if there is one. `now` is monotonic seconds."""
        ...


class Hedge:
    """Of one tool: learns how long its attempts take until their answer begins, and says when one is late."""

    __slots__ = ("_latencies",)

    def __init__(self) -> None:
        self._latencies = Latencies()

    def observe(self, latency_s: float) -> None:
        """Of first attempts only: until the answer began, or until the second one won. One that lost took at
        least as long as the percentile, which is all that the percentile has to know; left out, it would sink with
        every hedge and call for more of them."""
        self._latencies.add(latency_s)

    def due(self, sent: float, deadline: float, *, repeatable: bool) -> float | None:
        """When to send a second attempt, if the one that was `sent` is not answered by then (monotonic seconds).
        None: not at all, since it may not be repeated, too little is known of the tool, or a second one would most
        likely come too late as well."""
        if not repeatable or len(self._latencies) < MINIMUM_CALLS:
            return None
        late_s, usual_s = self._latencies.quantile_s(SHARE), self._latencies.quantile_s(0.5)
        if late_s is None or usual_s is None or sent + late_s + usual_s > deadline:
            return None
        return sent + late_s


def allowed(budget: Budget, now: float, *, answer_began: bool, circuit_closed: bool) -> bool:
    """Asked once, when it is due: takes one retry from the budget if the hedge goes. While a circuit probes or is
    open, its tool gets no call that is not needed."""
    return not answer_began and circuit_closed and budget.withdraw(now)
