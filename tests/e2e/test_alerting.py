"""On the cluster, under a real Prometheus with the chart's own rules: one broken tool is one alert, and it resolves.

Its windows of minutes would make a test of half an hour: all of them are 30 times shorter here, see `faster`."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.kube import wait_until
from localcluster.prometheus import RULES, Prometheus, faster, firing, pods, running
from tests.e2e.world import World
from tests.measured import measured

pytestmark = pytest.mark.e2e
TOOL = "search_knowledge_base"
FACTOR = 30
WINDOW_S = 300 / FACTOR
"""Of the rule that is to fire."""
GRACE_S = 60
"""Beyond its window."""
ERRORS = f'policy_server_tool:toolpolicy_tool_errors:ratio_rate5m{{tool="{TOOL}"}}'


@pytest.fixture
def prometheus(world: World, tmp_path: Path) -> Iterator[Prometheus]:
    world.until_programmed()
    world.fault(TOOL, "none")
    rules = faster(RULES.read_text(encoding="utf-8"), FACTOR)
    with running(tmp_path, [pods(world.kube)], rules=rules) as prometheus:
        wait_until(prometheus.quiet, seconds=90, what="all is scraped, and well")
        time.sleep(WINDOW_S)
        yield prometheus
    world.fault(TOOL, "none")


def now_firing(prometheus: Prometheus) -> list[str]:
    return [each.labels["alertname"] for each in prometheus.query('ALERTS{alertstate="firing"}')]


def test_a_broken_tool_is_one_alert_that_resolves(world: World, prometheus: Prometheus) -> None:
    assert len(prometheus.targets()) == 7  # three sidecars, two operators, two webhooks
    assert prometheus.quiet()
    assert prometheus.query(f"{ERRORS} == 0")

    since = time.time()
    world.fault(TOOL, "error")
    wait_until(lambda: now_firing(prometheus), seconds=WINDOW_S + GRACE_S, what="an alert fires")
    fired_s = time.time() - since
    time.sleep(WINDOW_S)  # the milder rules have all the time they ask for
    assert now_firing(prometheus) == ["ToolpolicyToolFailing"]

    mended = time.time()
    world.fault(TOOL, "none")
    wait_until(lambda: not now_firing(prometheus), seconds=WINDOW_S + GRACE_S, what="the alert resolves")
    resolved_s = time.time() - mended
    time.sleep(WINDOW_S)  # and nothing comes after it
    measured(
        f"rules {FACTOR} times faster: the alert fired {fired_s:.1f} s after the tool broke, "
        f"resolved {resolved_s:.1f} s after it was mended"
    )

    (alert,) = firing(prometheus, since)
    assert alert.labels == {
        "__name__": "ALERTS",
        "alertname": "ToolpolicyToolFailing",
        "alertstate": "firing",
        "severity": "critical",
        "namespace": "demo",
        "policy": "demo/agent",
        "server": "kb",
        "tool": TOOL,
    }
    seconds = [at for at, _ in alert.points]
    assert seconds[-1] - seconds[0] == len(seconds) - 1  # in one piece: it did not come and go
