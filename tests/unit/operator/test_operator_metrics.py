"""What the operator tells Prometheus about policies."""

from prometheus_client import generate_latest

from toolpolicy_operator.metrics import ConditionNow, Metrics

NAME = "toolpolicy_operator_policy_condition"


def series(metrics: Metrics) -> list[str]:
    return [line for line in generate_latest(metrics.registry).decode().splitlines() if line.startswith(NAME)]


def test_conditions_are_those_of_the_moment() -> None:
    """One series for each; what has changed or is gone leaves none behind."""
    metrics = Metrics()
    assert series(metrics) == []
    now = [ConditionNow("support/agent", "Programmed", "False", "Nacked")]
    metrics.conditions.read = lambda: now
    labels = 'policy="support/agent",reason="Nacked",status="False",type="Programmed"'
    (line,) = series(metrics)
    assert line == f"{NAME}{{{labels}}} 1.0"
    now[0] = ConditionNow("support/agent", "Programmed", "True", "Programmed")
    (line,) = series(metrics)
    assert 'status="True"' in line
    now.clear()
    assert series(metrics) == []
