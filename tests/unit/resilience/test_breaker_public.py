"""What other circuit breakers' own tests expect, step by step, and where ours means to differ.

The steps are facts from the tests of resilience4j (CircuitBreakerStateMachineTest), gobreaker
(v2/gobreaker_test.go), Polly (CircuitStateControllerTests) and linkerd2-proxy (breaker/integration_tests.rs).
"""

from typing import NamedTuple

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar.resilience.breaker import CircuitBreaker, Outcome, Permit, Rejected, State

OUTCOMES = {
    "S": Outcome.SUCCESS,
    "s": Outcome.SUCCESS,
    "F": Outcome.FAILURE,
    "f": Outcome.FAILURE,
    "N": Outcome.NEUTRAL,
}
LONG_S = 60.0
"""Slow under every limit below."""


class Step(NamedTuple):
    """What happens at `at` seconds, and the state then.

    In `calls`, S is a success, F a failure (s and f slow ones), N neutral, X one that is refused, R a reset
    by hand; `(` begins a call, `)S` ends the oldest begun. `ours`: where we mean to differ, and `why`.
    """

    at: float
    calls: str
    state: State
    ours: State | None = None
    why: str = ""
    retry_after_s: float | None = None


class Sequence(NamedTuple):
    name: str
    limits: snapshot.Breaker
    steps: tuple[Step, ...]


def rates(  # the seconds and calls of each test
    open_for_s: int,
    half_open_calls: int,
    *,
    failed: int | None,
    minimum: int,
    window_s: int,
    slow: snapshot.SlowCall | None = None,
    max_open_for_s: int | None = None,
) -> snapshot.Breaker:
    return snapshot.Breaker(
        open_for_ms=open_for_s * 1000,
        half_open_calls=half_open_calls,
        rates=snapshot.CallRates(minimum, window_s * 1000, failure_percent=failed, slow_call=slow),
        max_open_for_ms=None if max_open_for_s is None else max_open_for_s * 1000,
    )


def row(failures: int, open_for_s: int, **fields: object) -> snapshot.Breaker:
    return snapshot.Breaker(open_for_s * 1000, 1, consecutive_failures=failures, **fields)  # type: ignore[arg-type] # named by each test


FIRST = "the first failed probe opens again: halfOpenCalls probes must succeed, not a share of them"
OBSERVED = "it shows the state that mode Auto would be in, and lets everything pass all the same"
R4J = rates(5, 4, failed=50, minimum=5, window_s=5, slow=snapshot.SlowCall(4_000, 50))
RESILIENCE4J = (
    Sequence(
        "opens at the failure rate",
        R4J,
        (
            Step(0, "F", "Closed"),
            Step(0, "F", "Closed"),
            Step(0, "F", "Closed"),
            Step(0, "S", "Closed"),
            Step(0, "S", "Open"),
            Step(0, "X", "Open"),
        ),
    ),
    Sequence(
        "opens at the rate of slow calls",
        R4J,
        (
            Step(0, "f", "Closed"),
            Step(0, "s", "Closed"),
            Step(0, "F", "Closed"),
            Step(0, "S", "Closed"),
            Step(0, "s", "Open"),
        ),
    ),
    Sequence(
        "half-open after the wait",
        R4J,
        (Step(0, "FFFFF", "Open"), Step(0, "X", "Open"), Step(3, "X", "Open"), Step(6, "(", "HalfOpen")),
    ),
    Sequence(
        "waits longer the second time (theirs by 1.5, ours by 2)",
        rates(5, 4, failed=50, minimum=5, window_s=5, max_open_for_s=600),
        (
            Step(0, "FFFFF", "Open"),
            Step(3, "X", "Open"),
            Step(6, "F", "Open"),
            Step(12, "X", "Open"),
            Step(17, "(", "HalfOpen"),
        ),
    ),
    Sequence(
        "four probes, and no fifth; one given back is free again",
        R4J,
        (
            Step(0, "FFFFF", "Open"),
            Step(5, "((((XX", "HalfOpen"),
            Step(5, ")N", "HalfOpen"),
            Step(5, "(X", "HalfOpen"),
        ),
    ),
    Sequence(
        "opens again when too many probes fail",
        R4J,
        (
            Step(0, "FFFFF", "Open"),
            Step(5, "((((", "HalfOpen"),
            Step(5, ")F", "HalfOpen", ours="Open", why=FIRST),
            Step(5, ")F", "HalfOpen", ours="Open", why=FIRST),
            Step(5, ")S", "HalfOpen", ours="Open", why=FIRST),
            Step(5, ")F", "Open"),
        ),
    ),
    Sequence(
        "opens again when too many probes are slow",
        R4J,
        (
            Step(0, "FFFFF", "Open"),
            Step(5, "((((", "HalfOpen"),
            Step(5, ")s", "HalfOpen"),
            Step(5, ")s", "HalfOpen", ours="Open", why="two of four are 50 % already, whatever comes"),
            Step(5, ")s", "HalfOpen", ours="Open", why="two of four are 50 % already, whatever comes"),
            Step(5, ")S", "Open"),
        ),
    ),
    Sequence(
        "closes when few probes fail",
        R4J,
        (
            Step(0, "FFFFF", "Open"),
            Step(5, "((((", "HalfOpen"),
            Step(5, ")F", "HalfOpen", ours="Open", why=FIRST),
            Step(5, ")S", "HalfOpen", ours="Open", why=FIRST),
            Step(5, ")S", "HalfOpen", ours="Open", why=FIRST),
            Step(5, ")S", "Closed", ours="Open", why=FIRST),
        ),
    ),
    Sequence(
        "an ignored probe is given back",
        R4J,
        (
            Step(0, "FFFFF", "Open"),
            Step(5, "S", "HalfOpen"),
            Step(5, "S", "HalfOpen"),
            Step(5, "S", "HalfOpen"),
            Step(5, "N", "HalfOpen"),
            Step(5, "F", "Closed", ours="Open", why=FIRST),
        ),
    ),
    Sequence(
        "ignored probes, then good ones",
        R4J,
        (
            Step(0, "FFFFF", "Open"),
            Step(5, "NNNN", "HalfOpen"),
            Step(5, "SS", "HalfOpen"),
            Step(5, "S", "HalfOpen"),
            Step(5, "S", "Closed"),
        ),
    ),
    Sequence(
        "forced open stays so",
        snapshot.Breaker(5_000, 4, mode="ForcedOpen", rates=R4J.rates),
        (Step(0, "X", "Open"), Step(6, "X", "Open")),
    ),
    Sequence(
        "disabled, or forced closed, lets everything pass",
        snapshot.Breaker(5_000, 4, mode="ForcedClosed", rates=R4J.rates),
        (Step(0, "S", "Closed"), Step(0, "FFFFFFFF", "Closed")),
    ),
    Sequence(
        "a reset closes and forgets",
        R4J,
        (Step(0, "FFFFF", "Open"), Step(0, "R", "Closed"), Step(0, "FFFF", "Closed"), Step(0, "F", "Open")),
    ),
    Sequence(
        "a reset of a closed circuit forgets, too",
        R4J,
        (Step(0, "FFFF", "Closed"), Step(0, "R", "Closed"), Step(0, "FFFF", "Closed"), Step(0, "F", "Open")),
    ),
    Sequence(
        "metrics only, or observing, refuses nobody",
        snapshot.Breaker(5_000, 4, mode="Observe", rates=R4J.rates),
        (
            Step(0, "FFFS", "Closed"),
            Step(0, "S", "Closed", ours="Open", why=OBSERVED),
            Step(0, "F", "Closed", ours="Open", why=OBSERVED),
        ),
    ),
)

SLIDES = "their counts begin anew every 30 s, our window slides: the success of one second ago still counts"
RATIO = rates(90, 3, failed=60, minimum=3, window_s=30)
GOBREAKER = (
    Sequence(
        "six failures in a row",
        row(6, 60),
        (
            Step(0, "FFFFF", "Closed"),
            Step(0, "S", "Closed"),
            Step(0, "F", "Closed"),
            Step(0, "FFFFF", "Open"),
            Step(0, "XX", "Open"),
            Step(59, "", "Open"),
            Step(60, "", "HalfOpen"),
            Step(60, "F", "Open"),
            Step(120, "", "HalfOpen"),
            Step(120, "S", "Closed"),
        ),
    ),
    Sequence(
        "a ratio, and three probes",
        RATIO,
        (
            Step(0, "SFSFSFSFSF", "Closed"),
            Step(29, "S", "Closed"),
            Step(30, "F", "Closed"),
            Step(30, "S", "Closed"),
            Step(30, "F", "Open", ours="Closed", why=SLIDES),
        ),
    ),
    Sequence(
        "three probes in a row close, and no fourth runs beside them",
        RATIO,
        (
            Step(0, "FFF", "Open"),
            Step(90, "", "HalfOpen"),
            Step(90, "SS", "HalfOpen"),
            Step(90, "(X", "HalfOpen"),
            Step(90, ")S", "Closed"),
        ),
    ),
    Sequence(
        "a rolling window",
        RATIO,
        (
            Step(0, "SFSFSFSFSF", "Closed"),
            Step(3, "S", "Closed"),
            Step(5, "S", "Closed"),
            Step(7, "S", "Closed"),
            Step(9, "F", "Closed"),
            *(Step(at, "SF", "Closed") for at in (12, 15, 18, 21, 24, 27)),
            Step(30, "F", "Closed"),
            Step(30, "FFFFF", "Closed"),
            Step(30, "F", "Open"),
            Step(120, "SS", "HalfOpen"),
            Step(120, "(X)S", "Closed"),
        ),
    ),
    Sequence(
        "a panic is a failure",
        row(1, 60),
        (Step(0, "F", "Open"),),
    ),
)

POLLY = (
    Sequence(
        "closed, half-open, closed",
        row(1, 5),
        (Step(0, "F", "Open"), Step(5, "(X", "HalfOpen"), Step(5, ")S", "Closed")),
    ),
    Sequence(
        "closed, half-open, open, half-open, closed",
        row(1, 5),
        (
            Step(0, "F", "Open"),
            Step(5, "(", "HalfOpen"),
            Step(5, ")F", "Open"),
            Step(5.001, "X", "Open"),
            Step(15.001, "(", "HalfOpen"),
            Step(15.001, ")S", "Closed"),
        ),
    ),
    Sequence(
        "a late failure in open is nothing new",
        row(1, 5),
        (Step(0, "((", "Closed"), Step(0, ")F", "Open"), Step(4, ")F", "Open"), Step(5, "", "HalfOpen")),
    ),
    Sequence(
        "isolated stays so, whatever ends",
        row(1, 5, mode="ForcedOpen"),
        (Step(0, "X", "Open"), Step(100, "X", "Open")),
    ),
    Sequence(
        "a probe that does not end",
        row(1, 5),
        (
            Step(0, "F", "Open"),
            Step(5, "(X", "HalfOpen"),
            Step(10.5, "(X", "HalfOpen"),  # one more passes after another 5 s
            Step(12, ")S", "Closed"),
        ),
    ),
)

THROTTLED = "a 429 is a throttle, not a failure, unless throttleCountsAsFailure"
LINKERD = (
    Sequence(
        "a success between ends the row",
        row(2, 1),
        (Step(0, "FSF", "Closed"), Step(0, "F", "Open")),
    ),
    Sequence(
        "throttles are no failures in a row",
        row(1, 1),
        (Step(0, "NNNNN", "Closed"),),
    ),
    Sequence(
        "throttles lower the success rate (theirs a moving average over 10 s)",
        rates(1, 1, failed=50, minimum=1, window_s=10),
        (
            Step(0, "S", "Closed"),
            *(Step(at, "N", "Closed") for at in range(1, 8)),
            Step(8, "N", "Open", ours="Closed", why=THROTTLED),
        ),
    ),
    Sequence(
        "a throttled probe",
        row(2, 1),
        (
            Step(0, "FF", "Open"),
            Step(2, "N", "Closed", ours="HalfOpen", why="a 429 says nothing: the next call is the probe"),
        ),
    ),
    Sequence(
        "waits 1 s, 2 s, 4 s, to 100 s",
        row(3, 1, max_open_for_ms=100_000),
        (
            Step(0, "FFF", "Open"),
            Step(1, "F", "Open"),
            Step(2.9, "X", "Open"),
            Step(3, "F", "Open"),
            Step(6.9, "X", "Open"),
            Step(7, "(", "HalfOpen"),
        ),
    ),
    Sequence(
        "a hint from before the trip holds, less the time since",
        row(3, 1),
        (
            Step(0, "F", "Closed", retry_after_s=5),
            Step(0.1, "F", "Closed"),
            Step(0.2, "F", "Open"),
            Step(4.2, "X", "Open"),
            Step(5, "(", "HalfOpen"),
        ),
    ),
    Sequence(
        "a hint over the cap",
        row(1, 1),
        (Step(0, "F", "Open", retry_after_s=600), Step(299, "X", "Open"), Step(301, "(", "HalfOpen")),
    ),
)

SEQUENCES = [
    pytest.param(sequence, id=f"{source}: {sequence.name}")
    for source, sequences in (
        ("resilience4j", RESILIENCE4J),
        ("gobreaker", GOBREAKER),
        ("Polly", POLLY),
        ("Linkerd", LINKERD),
    )
    for sequence in sequences
]


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_replay(sequence: Sequence) -> None:
    circuit, begun = CircuitBreaker(sequence.limits), list[Permit]()

    def admitted(at: float) -> Permit:
        permit = circuit.acquire(at, deadline=at + 5)
        assert isinstance(permit, Permit)
        return permit

    for step in sequence.steps:
        calls = iter(step.calls)
        for call in calls:
            if call == "X":
                assert isinstance(circuit.acquire(step.at, deadline=step.at + 5), Rejected)
            elif call == "R":
                circuit.reset(step.at)
            elif call == "(":
                begun.append(admitted(step.at))
            else:
                permit, how = (begun.pop(0), next(calls)) if call == ")" else (admitted(step.at), call)
                circuit.record(
                    permit,
                    OUTCOMES[how],
                    step.at,
                    duration_s=LONG_S if how.islower() else 0.0,
                    retry_after_s=step.retry_after_s,
                )
        assert circuit.state_at(step.at).state == (step.ours or step.state), step
        assert (step.ours is None) == (not step.why)
        assert step.ours != step.state
