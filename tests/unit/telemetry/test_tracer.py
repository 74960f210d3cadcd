"""Identifiers of traces that begin here."""

from random import Random

import pytest

from toolpolicy_sidecar.telemetry.call_trace import AttemptTrace, CallTrace, parent_in
from toolpolicy_sidecar.telemetry.outbox import Outbox
from toolpolicy_sidecar.telemetry.sampling import Sampler
from toolpolicy_sidecar.telemetry.trace_context import SPAN_ID, parsed
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
    spans = [parent_in(line)[SPAN_ID] for trace in traces for line in (trace.first, trace.another())]
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
        for line in (trace.first, trace.another()):
            assert line == b"\r\ntraceparent: " + parent_in(line)
            told = parsed(parent_in(line).decode(), "")
            assert told is not None
            assert told[:3] == (trace.trace_id, AttemptTrace(line, 0, 0).span_id, trace.sampled)
