"""What the calls of each tool add up to, as metrics: how they ended, how long they took, what was taken out."""

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from toolpolicy_api.snapshot import UNLISTED
from toolpolicy_sidecar.accumulators import Durations, Traced, exemplar
from toolpolicy_sidecar.reasons import CallOutcome, Reason
from toolpolicy_sidecar.record import CallRecord, RedactedMessage

KEY = ("policy", "server", "tool")
Key = tuple[str, str, str]
_Ended = tuple[CallOutcome, Reason | None]

Result = Literal["success", "neutral", "error", "throttled", "disabled"]


def result(outcome: CallOutcome, reason: str | None) -> Result:
    """What a call is to an alert: few enough that each can be there from the start, for every tool."""
    if reason == Reason.ToolDisabled:
        return "disabled"
    if outcome == "failure" or outcome == "refused":  # noqa: PLR1714 -- mypy narrows by == alone
        return "throttled" if reason == Reason.Throttled else "error"
    return outcome


class _Tool:
    __slots__ = ("durations", "ended", "redacted", "traced", "upstream")

    def __init__(self) -> None:
        self.ended: dict[_Ended, int] = {}
        self.traced: dict[_Ended, Traced] = {}
        """The last call of each kind whose trace is kept."""
        self.durations, self.upstream = Durations(), Durations()
        self.redacted: dict[tuple[str, str], int] = {}
        """By detector and direction."""


class ToolCalls(Collector):
    def __init__(self) -> None:
        self._tools: dict[Key, _Tool] = {}

    def declare(self, key: Key) -> None:
        """There from now on, with results at 0: `rate` sees the first one counted only if it saw the 0 before it."""
        self._tools.setdefault(key, _Tool())

    def add(self, key: Key, record: CallRecord) -> None:
        tool = self._tools.get(key)
        if tool is None:
            tool = self._tools[key] = _Tool()
        ended, traced = (record.outcome, record.reason), None
        tool.ended[ended] = tool.ended.get(ended, 0) + 1
        if record.traced and record.trace_id is not None:
            traced = (record.trace_id, (record.started_at_ms + record.duration_ms) / 1000)
            tool.traced[ended] = traced
        tool.durations.add(record.duration_ms / 1000, traced)
        if record.upstream_ms is not None:
            tool.upstream.add(record.upstream_ms / 1000)
        if record.redacted_request:
            _redacted(tool, "request", record.redacted_request)
        if record.redacted_response:
            _redacted(tool, "response", record.redacted_response)

    def message(self, record: RedactedMessage) -> None:
        """It belongs to no call of a tool."""
        key = (record.policy, record.server, UNLISTED)
        self.declare(key)
        _redacted(self._tools[key], "response", record.hits)

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "toolpolicy_tool_calls", "Tool calls.", labels=(*KEY, "outcome", "reason")
        )
        results = CounterMetricFamily(
            "toolpolicy_tool_results",
            "Tool calls as alerts count them, there from the start: success, neutral, error, throttled, disabled.",
            labels=(*KEY, "result"),
        )
        durations = HistogramMetricFamily(
            "toolpolicy_tool_call_duration_seconds",
            "From a call's arrival to the end of its answer.",
            labels=KEY,
        )
        upstream = HistogramMetricFamily(
            "toolpolicy_upstream_duration_seconds",
            "From the first attempt to the end of the last one.",
            labels=KEY,
        )
        redactions = CounterMetricFamily(
            "toolpolicy_redactions",
            "Texts taken out. Of messages that belong to no call of a tool, the tool is `*`.",
            labels=(*KEY, "detector", "direction"),
        )
        for key, tool in self._tools.items():
            sums = dict.fromkeys(get_args(Result), 0)
            for ended, count in tool.ended.items():
                outcome, reason = ended
                traced = tool.traced.get(ended)
                calls.add_metric(
                    (*key, outcome, reason or ""), count, exemplar=exemplar(traced, 1) if traced else None
                )
                sums[result(outcome, reason)] += count
            for name, count in sums.items():
                results.add_metric((*key, name), count)
            tool.durations.tell(durations, key)
            tool.upstream.tell(upstream, key)
            for found, count in tool.redacted.items():
                redactions.add_metric((*key, *found), count)
        yield from (calls, results, durations, upstream, redactions)


def _redacted(tool: _Tool, direction: str, hits: Mapping[str, int]) -> None:
    counts = tool.redacted
    for detector, count in hits.items():
        found = (detector, direction)
        counts[found] = counts.get(found, 0) + count
