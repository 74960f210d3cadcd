"""How a tool takes each attempt, as the scenario has it. Pure: the time and the dice are arguments."""

import math
import random
from bisect import bisect_right
from collections.abc import Callable
from typing import Literal, NamedTuple

from toolpolicy_api.duration import milliseconds
from toolpolicy_sidecar.simulate.scenario import Errors, Latency, Load, Phase

_Z99 = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""


class Fate(NamedTuple):
    """Of one attempt. `after_s` until the answer, or until the connection breaks; infinity: never."""

    kind: Literal["Answer", "Refused", "Unreachable", "Reset"]
    after_s: float = 0.0
    status: int = 200
    retry_after_s: int | None = None


_REFUSED, _UNREACHABLE, _HANGS = Fate("Refused"), Fate("Unreachable"), Fate("Answer", math.inf)


class Script:
    def __init__(self, load: Load, phases: list[Phase], rng: random.Random) -> None:
        self.tool = load.name
        self._errors, self._rng = load.errors, rng
        self._latency_s = _drawn(load.latency, rng)
        self._phases = sorted((p for p in phases if p.hits(load.name)), key=lambda phase: phase.start_s)
        self._starts = [phase.start_s for phase in self._phases]

    def fate(self, now: float) -> Fate:
        """`now` in seconds since the simulation began. What goes wrong is decided when the attempt begins."""
        phase = self._phase(now)
        if phase is None:
            return Fate("Answer", self._latency_s(), self._status(None))
        if phase.outage == "Refused":
            return _REFUSED
        if phase.outage == "Unreachable":
            return _UNREACHABLE
        if phase.hang and self._happens(phase.hang.percent):
            return _HANGS
        if phase.throttle and self._happens(phase.throttle.percent):
            asked = phase.throttle.retry_after
            return Fate("Answer", 0.0, 429, milliseconds(asked) // 1000 if asked else None)
        after_s = self._latency_s() * (phase.latency_factor or 1.0)
        if phase.outage == "Reset":
            return Fate("Reset", after_s)
        return Fate("Answer", after_s, self._status(phase.errors))

    def _phase(self, now: float) -> Phase | None:
        index = bisect_right(self._starts, now) - 1
        return self._phases[index] if index >= 0 and now < self._phases[index].end_s else None

    def _status(self, now: Errors | None) -> int:
        for errors in (now, self._errors):
            if errors and self._happens(errors.percent):
                return errors.status
        return 200

    def _happens(self, percent: float) -> bool:
        return self._rng.random() * 100 < percent


def _drawn(latency: Latency, rng: random.Random) -> Callable[[], float]:
    if latency.p50 is None or latency.p99 is None:
        always_s = milliseconds(latency.constant or "0ms") / 1000
        return lambda: always_s
    median_s, p99_s = milliseconds(latency.p50) / 1000, milliseconds(latency.p99) / 1000
    mu, sigma = math.log(median_s), math.log(p99_s / median_s) / _Z99
    return lambda: rng.lognormvariate(mu, sigma)
