"""What alerts read is there, at 0, before the first call: the first failure of a rare tool counts in `rate`."""

import re
from pathlib import Path

import pytest
import yaml

from tests.unit.telemetry.observed import Observed, observed
from toolpolicy_api.slo import DAY_S, Slo
from toolpolicy_operator.slo.rule import objectives
from toolpolicy_sidecar.reasons import CallOutcome
from toolpolicy_sidecar.tool_calls import result

RULES = Path(__file__).parents[3] / "charts/toolpolicy/files/alerts.yaml"
POLICY = {
    "tools": [
        {"name": "search", "server": "kb"},
        {"name": "ticket", "server": "desk", "match": {"path": "/t/{id}"}},
    ]
}
TOOLS = {"search", "ticket", "*"}


def counted_in_rules() -> set[str]:
    """Of sidecars: what a rule takes the rate or the increase of, those of objectives included."""
    text = RULES.read_text(encoding="utf-8")
    text += str([each[4:] for each in objectives("support/agent", Slo(99.5, 5000, DAY_S))]).replace(
        "FUNCTION", "rate"
    )
    names = set(re.findall(r"(?:rate|increase)\((toolpolicy_\w+)", text))
    return {name for name in names if not name.startswith("toolpolicy_operator_")}


def sums(o: Observed, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (sample.labels, sample.value)
        for family in o.sidecar.metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    ]


async def test_every_counter_of_a_rule_is_there_before_the_first_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert yaml.safe_load(RULES.read_text(encoding="utf-8"))
    names = counted_in_rules()
    assert len(names) >= 6
    async with observed(tmp_path, monkeypatch, POLICY, servers={"kb": "MCP", "desk": "HTTP"}) as o:
        for name in names:
            found = sums(o, name)
            assert found, name
            assert {value for _, value in found} == {0}, name
            labels = found[0][0]
            if "tool" in labels:
                assert {labels["tool"] for labels, _ in found} == TOOLS, name
            elif "policy" in labels:
                assert {labels["policy"] for labels, _ in found} == {"support/agent"}, name
        before = {tuple(labels.items()) for labels, _ in sums(o, "toolpolicy_tool_results_total")}
        agent = await o.agent()
        await agent.request("GET", "/desk/t/7")
        await agent.request("GET", "/desk/elsewhere")
        after = sums(o, "toolpolicy_tool_results_total")
        assert {tuple(labels.items()) for labels, _ in after} == before, "a call makes no series of its own"
        assert sum(value for _, value in after) == 2


@pytest.mark.parametrize(
    ("outcome", "reason", "expected"),
    [
        ("success", None, "success"),
        ("neutral", "ClientError", "neutral"),
        ("failure", "ServerError", "error"),
        ("refused", "CircuitOpen", "error"),
        ("failure", "Throttled", "throttled"),
        ("refused", "Throttled", "throttled"),
        ("refused", "ToolDisabled", "disabled"),
    ],
)
def test_what_a_call_is_to_an_alert(outcome: CallOutcome, reason: str | None, expected: str) -> None:
    assert result(outcome, reason) == expected
