"""What may be written as an slo, and what the operator makes of it."""

import copy
from typing import Any

import pytest

from tests.corpus.policies import GOOD
from toolpolicy_api.channel import LATENCY_BOUNDS_MS, ToolKey
from toolpolicy_api.check import check, parse
from toolpolicy_api.duration import milliseconds
from toolpolicy_api.policy import LATENCY_TARGETS, SLO_TOOLS
from toolpolicy_api.slo import DAY_S, Slo, slos_of


def policy(slo: Any) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(GOOD)
    made["spec"]["tools"][0]["slo"] = slo
    return made


def test_the_operator_reckons_with_numbers() -> None:
    found = slos_of(parse(policy({"availability": 99.9, "latency": {"p95": "5000ms"}, "window": "7d"})))
    tool = GOOD["spec"]["tools"][0]
    slo = found[ToolKey("default/agent", tool["server"], tool["name"])]
    assert slo == Slo(99.9, 5000, 7 * DAY_S)
    assert slo.may_fail == 0.001
    assert len(found) == 1


def test_every_bucket_may_be_an_objective() -> None:
    assert [milliseconds(text) for text in LATENCY_TARGETS] == list(LATENCY_BOUNDS_MS)
    assert all(check(policy({"latency": {"p95": text}})) == [] for text in LATENCY_TARGETS)


@pytest.mark.parametrize(
    ("slo", "field"),
    [
        ({}, "slo"),
        ({"window": "7d"}, "slo"),
        ({"latency": {"p95": "3s"}}, "slo.latency.p95"),
        ({"latency": {}}, "slo.latency.p95"),
        ({"availability": 100}, "slo.availability"),
        ({"availability": 94.9}, "slo.availability"),
        ({"availability": float("nan")}, "slo.availability"),
        ({"availability": 99, "window": "91d"}, "slo.window"),
        ({"availability": 99, "window": "720h"}, "slo.window"),
    ],
)
def test_what_cannot_be_reckoned_is_refused(slo: Any, field: str) -> None:
    assert [finding.field for finding in check(policy(slo))] == [f"spec.tools[0].{field}"]


def test_tools_with_an_slo_are_counted() -> None:
    made = policy({"availability": 99})
    tool = made["spec"]["tools"][0]
    made["spec"]["tools"] = [
        {"name": f"t{number}", "server": tool["server"], "slo": tool["slo"]}
        for number in range(SLO_TOOLS + 1)
    ]
    assert [finding.field for finding in check(made)] == ["spec.tools"]
