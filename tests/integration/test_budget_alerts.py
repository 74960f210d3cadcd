"""What the PrometheusRule of a policy fires, as Prometheus itself evaluates it."""

import copy
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.corpus.policies import GOOD
from tests.integration.alert_cases import series
from tests.integration.test_alerts import promtool
from toolpolicy_operator.index import policy_entry
from toolpolicy_operator.slo.rule import Style, prometheus_rule

pytestmark = pytest.mark.integration
__all__ = ["promtool"]
POLICY, SERVER = "support/agent", "kb"
QUIET: set[tuple[str, str]] = set()
PAGE, TICKET = ("ToolpolicyBudgetBurnsFast", "availability"), ("ToolpolicyBudgetBurns", "availability")
SLOW_PAGE = ("ToolpolicyBudgetBurnsFast", "latency")


class Case(NamedTuple):
    """Of a tool with this name. `at`: minutes → alerts and objectives that fire for it."""

    tool: str
    series: dict[str, str]
    at: dict[int, set[tuple[str, str]]]


def calls(tool: str, result: str, pod: str = "a", policy: str = POLICY) -> str:
    labels = {"policy": policy, "server": SERVER, "tool": tool, "result": result, "pod": pod}
    return series("toolpolicy_tool_results_total", labels)


def timed(tool: str, le: str = "") -> str:
    labels = {"policy": POLICY, "server": SERVER, "tool": tool, "pod": "a", **({"le": le} if le else {})}
    return series("toolpolicy_upstream_duration_seconds_" + ("bucket" if le else "count"), labels)


def growing(*pieces: tuple[int, int]) -> str:
    """A counter, with a value every minute: so much each minute for so many minutes, piece by piece."""
    total, parts = 0, ["0"]
    for each, minutes in pieces:
        parts.append(f"{total + each}+{each}x{minutes - 1}" if each else f"{total}x{minutes - 1}")
        total += each * minutes
    return " ".join(parts)


def case(
    tool: str,
    results: dict[str, str],
    at: dict[int, set[tuple[str, str]]],
    in_another_pod: dict[str, str] | None = None,
) -> Case:
    """Of calls alone: how many ended with each result."""
    pods = {"a": results, "b": in_another_pod or {}}
    counts = {calls(tool, result, pod): n for pod, of in pods.items() for result, n in of.items()}
    return Case(tool, counts, at)


STEADY, BRIEFLY = growing((100, 300)), growing((0, 200), (6, 6), (0, 94))
CASES = [
    case("healthy", {"success": STEADY}, {30: QUIET, 200: QUIET, 290: QUIET}),
    case(
        "fails-briefly-and-pages",
        {"success": STEADY, "error": growing((0, 200), (12, 6), (0, 94))},
        # 10.7 % are 21 times what 99.5 % allow: over 6 times in 15 minutes, not over 3 times in 48.
        {200: QUIET, 202: QUIET, 206: {PAGE}, 225: QUIET, 290: QUIET},
    ),
    case(
        "fails-a-little-for-long",
        {"success": STEADY, "error": growing((0, 150), (2, 60), (0, 90))},
        # 2 % are 4 times what 99.5 % allow: over 3 times in 36 of 48 minutes, never over 6.
        {150: QUIET, 170: QUIET, 200: {TICKET}, 209: {TICKET}, 225: QUIET},
    ),
    Case(
        "slow",
        {
            calls("slow", "success"): STEADY,
            timed("slow"): growing((10, 300)),
            timed("slow", "5.0"): growing((10, 200), (5, 12), (10, 88)),
        },
        # Half of the calls are 10 times what p95 allows.
        {200: QUIET, 205: QUIET, 211: {SLOW_PAGE}, 225: QUIET},
    ),
    case(
        "hardly-called",
        {"success": "0x60 1x5 8x230", "error": "0x60 1x5 4x230"},
        {63: QUIET, 68: QUIET, 120: QUIET},
    ),
    case(
        "hardly-called-and-broken",
        {"success": "0x300", "error": "0x60 1x1 3 5x237"},
        {60: QUIET, 62: QUIET, 64: {PAGE, TICKET}, 80: QUIET},
    ),
    Case(
        "switched-off",
        {
            calls("switched-off", "success"): STEADY,
            calls("switched-off", "disabled"): growing((0, 100), (100, 200)),
            calls("switched-off", "error", policy="support/other"): growing((0, 100), (100, 200)),
        },
        {90: QUIET, 120: QUIET, 290: QUIET},
    ),
    case(
        "throttled-in-one-pod-and-failing-in-another",
        {"success": STEADY, "throttled": BRIEFLY},
        {202: QUIET, 206: {PAGE}, 225: QUIET},
        {"error": BRIEFLY},
    ),
]


HOURS = growing((100, 1000))
CASES_OF_30_DAYS = [
    case("healthy", {"success": HOURS}, {100: QUIET, 640: QUIET, 990: QUIET}),
    case(
        "fails-for-an-hour",
        {"success": HOURS, "error": growing((0, 600), (12, 60), (0, 340))},
        # 10.7 %: over 14.4 times in 39 of the last 60 minutes, over 6 times in 93 of 6 hours. That it was once the
        # whole budget since the first call needs 27 minutes, and is true for long.
        {600: QUIET, 620: QUIET, 632: {TICKET}, 645: {PAGE, TICKET}, 659: {PAGE, TICKET}, 667: {TICKET}},
    ),
    case(
        "fails-for-four-hours",
        {"success": HOURS, "error": growing((0, 600), (5, 240), (0, 160))},
        # 4.8 %: never over 14.4 times; over 6 times in 223 minutes of 6 hours, until 30 minutes know better.
        {650: QUIET, 750: {TICKET}, 815: {TICKET}, 830: {PAGE, TICKET}, 839: {PAGE, TICKET}, 872: {TICKET}},
    ),
]


def rule(cases: list[Case], window: str) -> dict[str, Any]:
    slo = {"availability": 99.5, "latency": {"p95": "5s"}, "window": window}
    document = copy.deepcopy(GOOD)
    document["metadata"] = {"name": "agent", "namespace": "support", "uid": "u"}
    document["spec"]["tools"] = [{"name": case.tool, "server": SERVER, "slo": slo} for case in cases]
    made = prometheus_rule(policy_entry(document), Style())
    assert made
    spec: dict[str, Any] = made["spec"]
    return spec


def fire(tool: str, minute: int, firing: set[tuple[str, str]]) -> dict[str, Any]:
    """promtool's: these are firing, for this tool, and nothing else."""
    return {
        "eval_time": f"{minute}m",
        "expr": f'sum by (alertname, objective) (ALERTS{{tool="{tool}", alertstate="firing"}})',
        "exp_samples": [
            {"labels": f'{{alertname="{alert}", objective="{objective}"}}', "value": 1}
            for alert, objective in sorted(firing)
        ],
    }


def evaluate(promtool: str, folder: Path, rules: dict[str, Any], cases: list[Case]) -> str:
    """What promtool has to say against the cases; nothing when all is as they expect."""
    test = {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values} for case in cases for name, values in case.series.items()
        ],
        "promql_expr_test": [
            fire(case.tool, minute, firing) for case in cases for minute, firing in case.at.items()
        ],
    }
    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    (folder / "cases.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = subprocess.run(
        [promtool, "test", "rules", "cases.yaml"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("window", ["1d", "30d"])
def test_prometheus_takes_the_rule(promtool: str, tmp_path: Path, window: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(rule(CASES, window)), encoding="utf-8")
    done = subprocess.run(
        [promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


BUDGETS = [("1d", CASES), ("30d", CASES_OF_30_DAYS)]
"""That of a day pages by 15 and 5 minutes, tickets come by 48 and 5, 144 and 12. That of 30 days pages by an hour and 5
minutes, or 6 hours and 30 minutes; tickets come by a day and 2 hours, 3 days and 6 hours."""


@pytest.mark.parametrize(("window", "cases"), BUDGETS)
def test_budgets_that_burn_fire_and_nothing_else_does(
    promtool: str, tmp_path: Path, window: str, cases: list[Case]
) -> None:
    assert evaluate(promtool, tmp_path, rule(cases, window), cases) == ""


def test_the_cases_notice_alerts_that_never_fire(promtool: str, tmp_path: Path) -> None:
    silent = rule(CASES, "1d")
    for group in silent["groups"]:
        group["rules"] = [{**each, "expr": "vector(0) > 1"} for each in group["rules"] if "alert" in each]
    firing = [found for case in CASES for found in case.at.values() if found]
    assert evaluate(promtool, tmp_path, silent, CASES).count("got: nil") == len(firing)


@pytest.mark.parametrize(("pair", "tool"), [(0, "fails-for-an-hour"), (1, "fails-for-four-hours")])
def test_each_pair_of_windows_pages_for_a_trouble_of_its_own(
    promtool: str, tmp_path: Path, pair: int, tool: str
) -> None:
    """Without it, nobody is paged for this one, and for the other all the same."""
    without = rule(CASES_OF_30_DAYS, "30d")
    for group in without["groups"]:
        for each in group["rules"]:
            if each.get("alert") == PAGE[0]:
                each["expr"] = each["expr"].split("\nor\n")[1 - pair]
    said = evaluate(promtool, tmp_path, without, CASES_OF_30_DAYS)
    assert set(re.findall(r"fails-for-[a-z-]+", said)) == {tool}
