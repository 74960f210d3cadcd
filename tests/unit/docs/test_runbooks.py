"""Every alert has a page, and what a page, an alert or a dashboard names exists."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards import debug, executive, on_call
from dashboards.panels import text
from docs.metrics import page
from toolpolicy_operator.slo.rule import FAST, SLOW

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.stem != "README")
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "charts/toolpolicy/files/alerts.yaml").read_text(encoding="utf-8"))[
        "groups"
    ]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule["labels"]["severity"] for rule in RULES if "alert" in rule} | {
    alert.name: alert.severity for alert in (FAST, SLOW)
}
METRICS = dict(re.findall(r"^\| `(toolpolicy_\w+)` \| (\w+)", page(), re.MULTILINE))
EXPOSED = set(METRICS) | {
    f"{name}_{part}"
    for name, kind in METRICS.items()
    if kind == "histogram"
    for part in ("bucket", "sum", "count")
}


def test_every_alert_has_a_page_and_a_row() -> None:
    assert {path.stem for path in PAGES} == set(ALERTS)
    rows = re.findall(
        r"^\| \[(\w+)\]\(\1\.md\) \| (\w+)", (RUNBOOKS / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert dict(rows) == ALERTS


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_what_someone_woken_up_needs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.stem} ({ALERTS[path.stem]})\n**Means**: ")
    assert "\n**Hurts**: " in text
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["First look", "Next step", "Silence"]
    assert f"amtool silence add alertname={path.stem} " in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_metrics_in_a_page_are_exposed(path: Path) -> None:
    assert set(re.findall(r"toolpolicy_[a-z_]+", path.read_text(encoding="utf-8"))) <= EXPOSED


BOARDS = {"executive": executive, "on-call": on_call, "debug": debug}


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_the_built_one_and_its_metrics_are_exposed_or_recorded(name: str) -> None:
    built = (ROOT / f"charts/toolpolicy/files/dashboards/{name}.json").read_text(encoding="utf-8")
    assert built == text(BOARDS[name].dashboard()), "run: make generate"
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    panels = [panel for panel in json.loads(built)["panels"] if panel["type"] != "row"]
    for panel in panels:
        for target in panel["targets"]:
            named = set(re.findall(r"(?:\w+:)?toolpolicy_\w+(?::\w+)?", target["expr"]))
            assert named <= EXPOSED | recorded, panel["title"]
            assert named or re.search("ALERTS|process_", target["expr"]), panel["title"]
        # A point for each kept trace, once a panel, wherever the metric has them.
        reads = any(
            "toolpolicy_tool_call_duration_seconds_bucket" in each["expr"] for each in panel["targets"]
        )
        assert sum(each.get("exemplar", False) for each in panel["targets"]) == reads, panel["title"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.get("alert") or rule.get("record")))
def test_metrics_in_a_rule_are_exposed_or_recorded(rule: dict[str, Any]) -> None:
    recorded = {other["record"] for other in RULES if "record" in other}
    named = set(re.findall(r"(?:\w+:)?toolpolicy_\w+(?::\w+)?", rule["expr"]))
    assert named
    assert named <= EXPOSED | recorded
