"""What is known of a call so far; its record is made of it."""

from collections import Counter
from collections.abc import Mapping

from toolpolicy_sidecar import classify
from toolpolicy_sidecar.fallback.cache import Whole
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason, Would
from toolpolicy_sidecar.record import Fallback, FallbackMissed, HedgeResult
from toolpolicy_sidecar.resilience.retry import Ended


class Progress:
    __slots__ = (
        "attempts",
        "error",
        "fallback",
        "fallback_missed",
        "good",
        "hedge",
        "queued_s",
        "redacted_request",
        "redacted_response",
        "request_bytes",
        "result",
        "retries",
        "retry_ended",
        "shadow",
        "shadow_redacted_request",
        "shadow_redacted_response",
        "status",
        "upstream_s",
    )

    def __init__(self) -> None:
        self.status = 0
        self.result = classify.SUCCESS
        self.error: str | None = None
        self.fallback: Fallback | None = None
        self.fallback_missed: FallbackMissed | None = None
        self.good: Whole | None = None
        self.attempts = 0
        self.hedge: HedgeResult | None = None
        self.retries: tuple[Reason, ...] = ()
        self.retry_ended: Ended | None = None
        self.queued_s = 0.0
        self.upstream_s: float | None = None
        self.request_bytes = 0
        self.redacted_request: Mapping[str, int] = {}
        self.redacted_response: Counter[str] | None = None
        self.shadow: tuple[Reason | Would, ...] = ()
        self.shadow_redacted_request: Mapping[str, int] = {}
        self.shadow_redacted_response: Mapping[str, int] = {}

    def failed(self, problem: Problem, *, agent_waited_for: bool = False) -> None:
        if not problem.answered:
            self.result = classify.of_reason(problem.reason, agent_waited_for=agent_waited_for)
        self.error = problem.detail

    def answered(self, good: Whole) -> None:
        """The tool's own answer, as the agent gets it, for a tool that keeps such; it counts once the call succeeds."""
        self.good = good

    def hit(self, hits: Mapping[str, int]) -> None:
        """In the answer."""
        if hits:
            if self.redacted_response is None:
                self.redacted_response = Counter()
            self.redacted_response.update(hits)
