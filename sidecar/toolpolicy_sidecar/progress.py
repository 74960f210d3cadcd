"""What is known of a call so far; its record is made of it."""

from collections.abc import Mapping

import msgspec

from toolpolicy_sidecar import classify
from toolpolicy_sidecar.fallback.cache import Whole
from toolpolicy_sidecar.preview import Sampled
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason, Would
from toolpolicy_sidecar.record import NO_HITS, Fallback, FallbackMissed, HedgeResult
from toolpolicy_sidecar.resilience.retry import Ended
from toolpolicy_sidecar.telemetry.call_trace import CallTrace


class Progress(msgspec.Struct):
    status: int = 0
    result: classify.Class = classify.SUCCESS
    error: str | None = None
    fallback: Fallback | None = None
    fallback_missed: FallbackMissed | None = None
    good: Whole | None = None
    attempts: int = 0
    hedge: HedgeResult | None = None
    retries: tuple[Reason, ...] = ()
    retry_ended: Ended | None = None
    queued_s: float = 0.0
    upstream_s: float | None = None
    request_bytes: int = 0
    redacted_request: Mapping[str, int] = NO_HITS
    redacted_response: Mapping[str, int] = NO_HITS
    shadow: tuple[Reason | Would, ...] = ()
    shadow_redacted_request: Mapping[str, int] = NO_HITS
    shadow_redacted_response: Mapping[str, int] = NO_HITS
    trace: CallTrace | None = None
    sampled: Sampled | None = None
    recorded: bool = False

    def failed(self, problem: Problem, *, agent_waited_for: bool = False) -> None:
        if not problem.answered:
            self.result = classify.of_reason(problem.reason, agent_waited_for=agent_waited_for)
        self.error = problem.detail

    def answered(self, good: Whole) -> None:
        """The tool's own answer, as the agent gets it, for a tool that keeps such; it counts once the call succeeds."""
        self.good = good

    def hit(self, hits: Mapping[str, int]) -> None:
        """In the answer."""
        found = self.redacted_response
        if hits and found:
            hits = {**found, **{name: found.get(name, 0) + n for name, n in hits.items()}}
        self.redacted_response = hits or found
