"""Identifiers of traces that begin here."""

from random import Random

import pytest

from toolpolicy_sidecar.telemetry.call_trace import CallTrace
from toolpolicy_sidecar.telemetry.outbox import Outbox
from toolpolicy_sidecar.telemetry.sampling import Sampler
from toolpolicy_sidecar.telemetry.trace_context import parsed
from toolpolicy_sidecar.telemetry.tracer import Tracer


class Chance:
    """Deals zeros at first."""

    def __init__(self) -> None:
        self._random, self.zeros = Random(7), 2  # noqa: S311 -- a test's

    def __call__(self, size: int) -> bytes:
        self.zeros -= 1
        return bytes(size) if self.zeros >= 0 else self._random.randbytes(size)


def begun(ratio: float) -> list[CallTrace]:
    tracer = Tracer(Sampler(ratio), Outbox(1, 1, lambda: None), random_bytes=Chance())
    fresh: list[CallTrace] = []
    for _ in range(8):
        tracer._begin_some(fresh)
    return fresh


def test_no_two_are_the_same_and_none_is_zero() -> None:
    traces = begun(1)
    spans = [trace.attempt(0.0).span_id for trace in traces] + [
        trace.attempt(0.0).span_id for trace in traces
    ]
    for identifiers in ([trace.trace_id for trace in traces], spans):
        assert len(set(identifiers)) == len(identifiers)
        assert all(int(each, 16) for each in identifiers)


@pytest.mark.parametrize("ratio", [0, 0.25, 1])
def test_they_are_sampled_as_all_parts_of_a_trace_decide(ratio: float) -> None:
    traces = begun(ratio)
    assert {trace.sampled for trace in traces} == {0: {False}, 0.25: {False, True}, 1: {True}}[ratio]
    for trace in traces:
        assert trace.sampled == Sampler(ratio).head(trace.trace_id, None)


def test_attempts_say_so() -> None:
    for trace in begun(0.25)[:32]:
        for attempt in (trace.attempt(0.0), trace.attempt(0.0)):
            told = parsed(attempt.parent.decode(), "")
            assert told is not None
            assert told[:3] == (trace.trace_id, attempt.span_id, trace.sampled)
            assert attempt.line == b"\r\ntraceparent: " + attempt.parent
