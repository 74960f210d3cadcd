"""What happened in a simulation: counts by the second and by the row of the report."""

import math
from array import array
from bisect import bisect_right
from collections import Counter
from typing import NamedTuple

from toolpolicy_api.channel import CircuitState, Transition
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest
from toolpolicy_sidecar.simulate.scenario import Scenario


class Span(NamedTuple):
    """A row of the report. `fault` None: nothing goes wrong in it; `after`: a fault has just ended."""

    name: str
    start_s: float
    end_s: float
    fault: str | None = None
    after: str | None = None


class Switch(NamedTuple):
    """A circuit changed its state."""

    at_s: float
    pod: int
    before: CircuitState
    after: CircuitState
    reason: str = ""


class Counts:
    """Of the calls that came, and of the attempts that began, in one span."""

    def __init__(self) -> None:
        self.calls = self.admitted = self.answered = self.unfinished = 0
        self.retries = self.attempts = 0
        self.failed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self.admitted_ms = array("d")


class ToolObserved:
    """Each array has one number per second: calls by when they came, attempts by when they began."""

    def __init__(self, name: str, spans: list[Span], duration_s: float) -> None:
        self.name, self.spans = name, spans
        self.counts = [Counts() for _ in spans]
        self.switches: list[Switch] = []
        self._starts = [span.start_s for span in spans]
        zeros = bytes(4 * math.ceil(duration_s))
        self.calls, self.answered, self.failed, self.refused, self.attempts = (
            array("I", zeros) for _ in range(5)
        )

    def called(self, record: CallRecord) -> None:
        at_s = record.started_at_ms / 1000
        counts, second = self.counts[self._row(at_s)], self._second(at_s)
        counts.calls += 1
        self.calls[second] += 1
        counts.retries += len(record.retries)
        if record.attempts:
            counts.admitted += 1
            counts.admitted_ms.append(record.duration_ms)
        if record.fallback is not None and record.fallback_missed is None:
            counts.fallbacks[record.fallback] += 1
        if record.reason is Reason.ClientGone:
            counts.unfinished += 1
        elif record.outcome == "failure":
            counts.failed[record.reason or "unknown"] += 1
            self.failed[second] += 1
        elif record.outcome == "refused":
            counts.refused[record.reason or "unknown"] += 1
            self.refused[second] += 1
        else:
            counts.answered += 1
            self.answered[second] += 1

    def attempted(self, at_s: float) -> None:
        self.counts[self._row(at_s)].attempts += 1
        self.attempts[self._second(at_s)] += 1

    def _row(self, at_s: float) -> int:
        return max(0, bisect_right(self._starts, at_s) - 1)

    def _second(self, at_s: float) -> int:
        """What begins after the end, since a call was still under way, counts as of the last second."""
        return min(int(at_s), len(self.calls) - 1)


class PodRecorder:
    """The recorder of one pod. What belongs to no tool of the scenario is not looked at."""

    def __init__(self, pod: int, tools: dict[tuple[str, str], ToolObserved]) -> None:
        """`tools` by server and name."""
        self._pod, self._tools = pod, tools

    def call(self, record: CallRecord) -> None:
        tool = self._tools.get((record.server, record.tool))
        if tool is not None:
            tool.called(record)

    def refused(self, record: RefusedRequest) -> None:
        """Belongs to no tool."""

    def redacted(self, record: RedactedMessage) -> None:
        """The same."""

    def egress(self, record: EgressRecord) -> None:
        """The same."""

    def transition(self, transition: Transition) -> None:
        tool = self._tools.get((transition.key.server, transition.key.tool))
        if tool is not None:
            at_s = transition.at_ms / 1000
            tool.switches.append(
                Switch(at_s, self._pod, transition.before, transition.after, transition.reason)
            )


def spans(scenario: Scenario, tool: str) -> list[Span]:
    """The phases that hit this tool, and the times between them, in order."""
    found: list[Span] = []
    now_s, after = 0.0, None
    phases = sorted((p for p in scenario.phases if p.hits(tool)), key=lambda phase: phase.start_s)
    for phase in phases:
        if phase.start_s > now_s:
            found.append(_calm(now_s, phase.start_s, after))
        found.append(Span(phase.name, phase.start_s, phase.end_s, fault=phase.name))
        now_s, after = phase.end_s, phase.name
    if now_s < scenario.duration_s:
        found.append(_calm(now_s, scenario.duration_s, after))
    return found


def _calm(start_s: float, end_s: float, after: str | None) -> Span:
    return Span(f"after {after}" if after else "calm", start_s, end_s, after=after)
