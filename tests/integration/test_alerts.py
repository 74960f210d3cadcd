"""The chart's alerts, as Prometheus itself reads and evaluates them."""

import copy
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster import packages
from tests.integration.alert_cases import CASES, LEADS, Firing

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "toolpolicy" / "files" / "alerts.yaml"
LOADED: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in LOADED["groups"] for rule in group["rules"] if "alert" in rule
}


@pytest.fixture(scope="session")
def promtool() -> str:
    """Debian's."""
    return shutil.which("promtool") or str(packages.unpacked("prometheus") / "usr" / "bin" / "promtool")


def rendered(text: str, firing: Firing) -> str:
    """The one template language that the annotations need: labels, the policy's name, the value."""
    text = re.sub(r"{{ \$value[^}]*}}", firing.value, text)
    text = text.replace(
        '{{ reReplaceAll ".*/" "" $labels.policy }}', firing.labels.get("policy", "").split("/")[-1]
    )
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: firing.labels[found[1]], text)


def expected(firing: Firing) -> dict[str, Any]:
    rule = ALERTS[firing.alert]
    return {
        "exp_labels": {**firing.labels, **rule["labels"]},
        "exp_annotations": {key: rendered(text, firing) for key, text in rule["annotations"].items()},
    }


def unit_test() -> dict[str, Any]:
    """promtool's file: at each of a case's times every alert is asked, so that none fires unexpected."""
    return {
        "rule_files": ["alerts.yaml"],
        "evaluation_interval": "30s",
        "tests": [
            {
                "name": case.title,
                "interval": "30s",
                "input_series": [
                    {"series": name, "values": values} for name, values in (LEADS | case.series).items()
                ],
                "alert_rule_test": [
                    {
                        "eval_time": time,
                        "alertname": alert,
                        "exp_alerts": [expected(each) for each in firing if each.alert == alert],
                    }
                    for time, firing in case.at.items()
                    for alert in ALERTS
                ],
            }
            for case in CASES
        ],
    }


def evaluate(promtool: str, folder: Path, rules: dict[str, Any]) -> str:
    """What promtool has to say against the cases; nothing when all is as they expect."""
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    (folder / "cases.yaml").write_text(yaml.safe_dump(unit_test()), encoding="utf-8")
    done = subprocess.run(
        [promtool, "test", "rules", "cases.yaml"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr if done.returncode else ""


def test_prometheus_takes_the_rules(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_these_alerts_fire_and_no_others(promtool: str, tmp_path: Path) -> None:
    assert evaluate(promtool, tmp_path, LOADED) == ""


def test_the_cases_notice_alerts_that_never_fire(promtool: str, tmp_path: Path) -> None:
    silent = copy.deepcopy(LOADED)
    for group in silent["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["expr"] = "vector(0) > 1"
    said = evaluate(promtool, tmp_path, silent)
    for case in CASES:
        for time, firing in case.at.items():
            for each in firing:
                assert f"name: {case.title},\n    alertname: {each.alert}, time: {time}" in said


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_fires_and_recovers_in_a_case(alert: str) -> None:
    states = [[any(each.alert == alert for each in firing) for firing in case.at.values()] for case in CASES]
    assert any(any(each) and not each[0] and not each[-1] for each in states)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert "Next: " in rule["annotations"]["description"]
    assert rule["annotations"]["runbook_url"].endswith(f"/{alert}.md")
