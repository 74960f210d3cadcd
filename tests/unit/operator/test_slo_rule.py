"""The PrometheusRule of a policy: which windows, which series, which names. What fires when: tests/integration."""

import copy
import re
from typing import Any

import pytest

from docs.metrics import page
from tests.corpus.policies import GOOD
from toolpolicy_api.slo import DAY_S
from toolpolicy_operator.index import PolicyEntry, policy_entry
from toolpolicy_operator.slo.rule import FAST, SLOW, Style, Windows, prometheus_rule, scaled
from toolpolicy_sidecar.accumulators import BUCKETS_S

HOUR_S = 3600


def entry(*slos: dict[str, Any]) -> PolicyEntry:
    """A tool for each, as the API server has them."""
    document = copy.deepcopy(GOOD)
    document["metadata"] = {"name": "agent", "namespace": "support", "uid": "u-1"}
    document["spec"]["tools"] = [
        {"name": f"tool{number}", "server": "kb", "slo": slo} for number, slo in enumerate(slos)
    ]
    made = policy_entry(document)
    assert made.findings == ()
    return made


def rules(*slos: dict[str, Any]) -> list[dict[str, Any]]:
    made = prometheus_rule(entry(*slos), Style())
    assert made
    return [rule for group in made["spec"]["groups"] for rule in group["rules"]]


def test_windows_are_the_workbooks_for_30_days() -> None:
    assert scaled(FAST, 30 * DAY_S) == FAST.windows == ((HOUR_S, 300, 14.4), (6 * HOUR_S, 1800, 6))
    assert scaled(SLOW, 30 * DAY_S) == SLOW.windows == ((DAY_S, 2 * HOUR_S, 3), (3 * DAY_S, 6 * HOUR_S, 1))


@pytest.mark.parametrize(
    ("days", "fast", "slow"),
    [
        (90, [(3 * HOUR_S, 900), (18 * HOUR_S, 5400)], [(3 * DAY_S, 6 * HOUR_S), (9 * DAY_S, 18 * HOUR_S)]),
        (7, [(900, 300), (84 * 60, 420)], [(336 * 60, 28 * 60), (1008 * 60, 84 * 60)]),
        (1, [(900, 300), (900, 300)], [(48 * 60, 300), (144 * 60, 720)]),
    ],
)
def test_other_budgets_have_them_in_proportion_but_none_that_is_noise(
    days: int, fast: list[tuple[int, int]], slow: list[tuple[int, int]]
) -> None:
    for alert, wanted in ((FAST, fast), (SLOW, slow)):
        assert list(scaled(alert, days * DAY_S)) == [
            Windows(*pair, each.burn_rate) for pair, each in zip(wanted, alert.windows, strict=True)
        ]


def test_it_stands_beside_the_policy_and_goes_with_the_release() -> None:
    owner = {"kind": "ClusterRole", "name": "toolpolicy-operator", "uid": "u-2"}
    made = prometheus_rule(entry({"availability": 99}), Style({"release": "prometheus"}), owner)
    assert made
    assert made["metadata"] == {
        "name": "toolpolicy-agent",
        "namespace": "support",
        "labels": {"release": "prometheus", "app.kubernetes.io/managed-by": "toolpolicy"},
        "ownerReferences": [owner],
    }
    assert prometheus_rule(entry(), Style()) is None


def test_nobody_can_take_the_label_that_says_whose_it_is() -> None:
    made = prometheus_rule(entry({"availability": 99}), Style({"app.kubernetes.io/managed-by": "me"}))
    assert made
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "toolpolicy"}


def test_each_objective_of_each_tool_pages_and_tickets() -> None:
    made = rules({"availability": 99.9, "latency": {"p95": "2s500ms"}}, {"latency": {"p95": "10s"}})
    alerts = [rule for rule in made if "alert" in rule]
    assert [
        (rule["alert"], re.findall(r'tool="(\w+)"', rule["expr"])[0], rule["labels"]) for rule in alerts
    ] == [
        (alert, tool, {"severity": severity, "namespace": "support", "objective": objective})
        for alert, severity in (
            ("ToolpolicyBudgetBurnsFast", "critical"),
            ("ToolpolicyBudgetBurns", "warning"),
        )
        for tool, objective in (("tool0", "availability"), ("tool0", "latency"), ("tool1", "latency"))
    ]


def test_every_series_that_an_alert_reads_is_recorded_once_and_before_it() -> None:
    made = rules(
        {"availability": 99.9, "latency": {"p95": "1s"}, "window": "7d"},
        {"availability": 99, "latency": {"p95": "1s"}},
        {"availability": 95, "window": "1d"},
    )
    recorded: list[str] = []
    for rule in made:
        if "record" in rule:
            recorded.append(rule["record"])
        else:
            assert set(re.findall(r"policy_server_tool:\w+:\w+", rule["expr"])) <= set(recorded)
    assert len(recorded) == len(set(recorded))


def test_what_is_read_is_exposed() -> None:
    metrics = set(re.findall(r"^\| `(toolpolicy_\w+)` \|", page(), re.MULTILINE))
    metrics |= {"toolpolicy_upstream_duration_seconds_count", "toolpolicy_upstream_duration_seconds_bucket"}
    for rule in rules({"availability": 99, "latency": {"p95": "2m"}}):
        if "record" in rule:
            assert set(re.findall(r"toolpolicy_\w+", rule["expr"])) <= metrics


@pytest.mark.parametrize(("p95", "le"), [("5ms", "0.005"), ("250ms", "0.25"), ("5s", "5.0"), ("2m", "120.0")])
def test_the_bucket_is_one_that_sidecars_have(p95: str, le: str) -> None:
    assert le in map(str, BUCKETS_S)
    made = rules({"latency": {"p95": p95}})
    assert {found for rule in made for found in re.findall(r'le="([^"]+)"', rule["expr"])} == {le}
