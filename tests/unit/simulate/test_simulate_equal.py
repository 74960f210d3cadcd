"""Equal arguments, equal results: else two policies could not be compared."""

import random
from typing import Any

from tests.unit.simulate.incidents import policy, reported, scenario
from toolpolicy_sidecar.simulate.agent import arrivals
from toolpolicy_sidecar.simulate.simulation import simulate

BROWN_OUT = {"name": "brown-out", "at": "5s", "for": "15s", "errors": {"percent": 40}, "latencyFactor": 5}
RULES: dict[str, Any] = {
    "circuitBreaker": {"consecutiveFailures": 4, "openFor": "3s"},
    "retry": {"idempotent": True},
}


def test_a_seed_decides_everything() -> None:
    incident = scenario(BROWN_OUT, duration="30s", seed=7)
    first, again = (reported(simulate(policy(**RULES), incident), incident) for _ in range(2))
    assert first == again
    other = scenario(BROWN_OUT, duration="30s", seed=8)
    assert reported(simulate(policy(**RULES), other), other).tools != first.tools


def test_agents_call_at_the_same_times_whatever_the_policy_is() -> None:
    incident = scenario(BROWN_OUT, duration="30s")
    with_breaker, without = (simulate(rules, incident)[0] for rules in (policy(**RULES), policy()))
    assert with_breaker.calls == without.calls
    assert with_breaker.attempts != without.attempts


def test_arrivals_are_as_many_as_they_should_be() -> None:
    load = scenario(callsPerSecond=50).tools[0]
    poisson = list(arrivals(load, 4, 100.0, random.Random(1)))  # noqa: S311 -- to be repeatable
    assert 5000 * 0.94 < len(poisson) < 5000 * 1.06  # four standard deviations
    assert {pod for _, pod in poisson} == {0, 1, 2, 3}
    even = load.model_copy(update={"arrival": "Constant"})
    assert list(arrivals(even, 2, 0.07, random.Random(1))) == [(0.0, 0), (0.02, 1), (0.04, 0), (0.06, 1)]  # noqa: S311 -- the same
