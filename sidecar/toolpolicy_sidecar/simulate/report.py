"""What a simulation means: rates, times to open, times to recover. Pure."""

import math
import statistics
from array import array
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from toolpolicy_sidecar.simulate.observed import Counts, Span, Switch, ToolObserved

BACK_AT = 0.95
"""Traffic is back when this share of what was answered before is answered again…"""
BACK_FOR_S = 10
"""…in a second, and in this many seconds from there on: one good second is none."""


class Opened(msgspec.Struct, frozen=True, rename="camel"):
    """Circuits that were closed and opened. Seconds since the phase began, of each pod's first opening; the reason is
    that of the very first."""

    pods: int
    first_s: float
    last_s: float
    reason: str


class Recovery(msgspec.Struct, frozen=True, rename="camel"):
    """Seconds since the fault was over; None: not before the next phase. `circuits_s` 0: none had opened."""

    circuits_s: float | None
    traffic_s: int | None


class Row(msgspec.Struct, frozen=True, rename="camel"):
    """One phase of one tool. Calls belong to the phase in which they come, attempts to that in which they begin."""

    phase: str
    fault: bool
    from_s: float
    to_s: float
    calls: int
    admitted: int
    """Calls that were tried at least once."""
    answered: int
    """Calls that got the tool's own answer, which is no failure."""
    failed: Mapping[str, int]
    """By reason."""
    refused: Mapping[str, int]
    """By reason: without any attempt."""
    fallbacks: Mapping[str, int]
    """Of those that failed or were refused: what the agents got instead, by kind."""
    unfinished: int
    """Nobody sets them a deadline, and they had not ended long after the scenario."""
    retries: int
    attempts: int
    load: float | None
    """Attempts for each call that came: what the policy makes of the load. None: no call came."""
    p95_ms: float | None
    """Of the calls that were admitted: how long the agent waited."""
    opened: Opened | None
    recovery: Recovery | None


class ToolReport(msgspec.Struct, frozen=True):
    name: str
    rows: tuple[Row, ...]


class Report(msgspec.Struct, frozen=True):
    seed: int
    pods: int
    tools: tuple[ToolReport, ...]


def report(observed: Iterable[ToolObserved], *, seed: int, pods: int) -> Report:
    tools = tuple(ToolReport(tool.name, tuple(_rows(tool))) for tool in observed)
    return Report(seed, pods, tools)


def _rows(tool: ToolObserved) -> Iterator[Row]:
    usual = _usual(tool)
    for span, counts in zip(tool.spans, tool.counts, strict=True):
        recovery = None
        if span.after is not None:
            recovery = Recovery(closed_after_s(tool.switches, span), back_after_s(tool, span, usual))
        yield Row(
            phase=span.name,
            fault=span.fault is not None,
            from_s=span.start_s,
            to_s=span.end_s,
            calls=counts.calls,
            admitted=counts.admitted,
            answered=counts.answered,
            failed=dict(counts.failed.most_common()),
            refused=dict(counts.refused.most_common()),
            fallbacks=dict(counts.fallbacks.most_common()),
            unfinished=counts.unfinished,
            retries=counts.retries,
            attempts=counts.attempts,
            load=counts.attempts / counts.calls if counts.calls else None,
            p95_ms=_p95(counts.admitted_ms),
            opened=opened(tool.switches, span),
            recovery=recovery,
        )


def opened(switches: Iterable[Switch], span: Span) -> Opened | None:
    """None: no circuit opened."""
    first: dict[int, Switch] = {}
    for switch in switches:
        if (switch.before, switch.after) == ("Closed", "Open") and span.start_s <= switch.at_s < span.end_s:
            first.setdefault(switch.pod, switch)
    if not first:
        return None
    one, *_, last = (*first.values(), *first.values())  # switches are in order of time
    return Opened(len(first), one.at_s - span.start_s, last.at_s - span.start_s, one.reason)


def closed_after_s(switches: Iterable[Switch], span: Span) -> float | None:
    """Until every circuit that was open when the span began has closed."""
    waiting: set[int] = set()
    last_s = 0.0
    for switch in switches:
        if switch.at_s < span.start_s:
            (waiting.discard if switch.after == "Closed" else waiting.add)(switch.pod)
        elif switch.at_s < span.end_s and switch.after == "Closed" and switch.pod in waiting:
            waiting.discard(switch.pod)
            last_s = switch.at_s - span.start_s
    return None if waiting else last_s


def back_after_s(tool: ToolObserved, span: Span, usual: float) -> int | None:
    """Whole seconds, of which the first begins with the span or a moment later. Seconds without a call say nothing."""
    start, end = math.ceil(span.start_s), math.ceil(span.end_s)
    wanted = usual * BACK_AT
    for second in range(start, end):
        ahead = min(second + BACK_FOR_S, end)
        now = _share(tool, second, second + 1)
        if now is not None and now >= wanted and (_share(tool, second, ahead) or 0.0) >= wanted:
            return second - start
    return None


def _share(tool: ToolObserved, start: int, end: int) -> float | None:
    calls = sum(tool.calls[start:end])
    return sum(tool.answered[start:end]) / calls if calls else None


def _usual(tool: ToolObserved) -> float:
    """The share of calls that is answered when all is well: as before the first phase, if there is a before."""
    first: Counts = tool.counts[0]
    return first.answered / first.calls if tool.spans[0].fault is None and first.calls else 1.0


def _p95(values: "array[float]") -> float | None:
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=20, method="inclusive")[18]
