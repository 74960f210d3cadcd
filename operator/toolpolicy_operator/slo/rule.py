"""The PrometheusRule of one policy: burn-rate alerts for the objectives of its tools. Pure.

Windows and burn rates are those of the SRE workbook, chapter 5, table 5-8, for a budget of 30 days; other budgets have
theirs in proportion, so that an alert always means the same share of the budget. Each looks at a long window, so that
a moment of trouble wakes nobody, and at a short one, so that it ends soon after the trouble does.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from toolpolicy_api import duration
from toolpolicy_api.channel import ToolKey
from toolpolicy_api.slo import DAY_S, P95_MAY_MISS, Slo
from toolpolicy_operator.index import PolicyEntry

GROUP_VERSION = "monitoring.coreos.com/v1"
PLURAL = "prometheusrules"
MANAGED = {"app.kubernetes.io/managed-by": "toolpolicy"}
RUNBOOKS = "https://toolpolicy.dev/runbooks"

LEAST_BAD = 5
"""In the long window: one bad call of ten is a burn rate of 20 for 99.5 %, and says nothing."""
LEAST_LONG_S, LEAST_SHORT_S = 900, 300
"""Of a budget of few days. `rate` over less than that is noise where metrics are scraped every 30 s."""
TICKETS_EVERY = "2m"
"""Days of samples are read for them, and nobody waits for them."""
_MINUTE_S, _HOUR_S = 60, 3600


class Windows(NamedTuple):
    long_s: int
    short_s: int
    burn_rate: float


class Alert(NamedTuple):
    """`windows` of a budget of 30 days; one of the pairs is enough."""

    name: str
    severity: str
    windows: tuple[Windows, ...]


FAST = Alert(
    "ToolpolicyBudgetBurnsFast",
    "critical",
    (Windows(_HOUR_S, 300, 14.4), Windows(6 * _HOUR_S, 1800, 6)),
)
SLOW = Alert(
    "ToolpolicyBudgetBurns",
    "warning",
    (Windows(DAY_S, 2 * _HOUR_S, 3), Windows(3 * DAY_S, 6 * _HOUR_S, 1)),
)


class Objective(NamedTuple):
    """`record`: how its recorded series begin. `bad` and `every` are calls, with FUNCTION (rate or increase) and
    WINDOW to be put in."""

    name: str
    goal: str
    may_miss: float
    record: str
    bad: str
    every: str


class Style(NamedTuple):
    """Of all rules of a release: `labels` are what a Prometheus selects them by, `runbooks` a URL."""

    labels: Mapping[str, str] = {}
    runbooks: str = RUNBOOKS


def rule_name(policy: str) -> str:
    """Without the prefix, somebody's own rule might have it."""
    return f"toolpolicy-{policy}"


def prometheus_rule(
    entry: PolicyEntry, style: Style, owner: dict[str, str] | None = None
) -> dict[str, Any] | None:
    """None: no tool of the policy has an slo. `owner`: the release's ClusterRole, so that garbage collection removes
    this on uninstall. Not the policy: its kind goes with the release too, and of a kind that is gone the garbage
    collector cannot tell whether an owner is."""
    if not entry.slos:
        return None
    wanted = [
        (key, slo, objective) for key, slo in entry.slos.items() for objective in objectives(entry.key, slo)
    ]
    fast = {
        name: expr
        for _, slo, objective in wanted
        for name, expr in _records(objective, scaled(FAST, slo.window_s))
    }
    slow = {
        name: expr
        for _, slo, objective in wanted
        for name, expr in _records(objective, scaled(SLOW, slo.window_s))
        if name not in fast
    }
    groups = [
        {
            "name": f"toolpolicy-objectives-{alert.severity}",
            **({"interval": TICKETS_EVERY} if alert is SLOW else {}),
            "rules": [
                *({"record": name, "expr": expr} for name, expr in records.items()),
                *(_alert(alert, key, slo, objective, style) for key, slo, objective in wanted),
            ],
        }
        for alert, records in ((FAST, fast), (SLOW, slow))
    ]
    metadata: dict[str, Any] = {
        "name": rule_name(entry.name),
        "namespace": entry.namespace,
        "labels": {**style.labels, **MANAGED},
    }
    if owner:
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": GROUP_VERSION,
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": {"groups": groups},
    }


def scaled(alert: Alert, window_s: int) -> tuple[Windows, ...]:
    """Its windows for a budget of `window_s`, in whole minutes."""
    return tuple(
        Windows(
            max(LEAST_LONG_S, _minutes(each.long_s * window_s / (30 * DAY_S))),
            max(LEAST_SHORT_S, _minutes(each.short_s * window_s / (30 * DAY_S))),
            each.burn_rate,
        )
        for each in alert.windows
    )


def objectives(policy: str, slo: Slo) -> Iterator[Objective]:
    """Good and bad calls as the operator counts them for status (`ledger`). Waiting for a slot is in no histogram of
    calls that reach the tool, so here it is not part of their latency."""
    of = f'policy="{policy}"'
    if slo.may_fail is not None:
        yield Objective(
            name="availability",
            goal=f"{slo.availability:g} % of calls neither fail nor are refused",
            may_miss=slo.may_fail,
            record="policy_server_tool:toolpolicy_slo_errors",
            bad=_sum("toolpolicy_tool_results_total", f'{of}, result=~"error|throttled"'),
            every=_sum("toolpolicy_tool_results_total", f'{of}, result!="disabled"'),
        )
    if slo.p95_ms is not None:
        bound, histogram = duration.render(slo.p95_ms), "toolpolicy_upstream_duration_seconds"
        every = _sum(f"{histogram}_count", of)
        within = _sum(f"{histogram}_bucket", f'{of}, le="{slo.p95_ms / 1000}"')
        yield Objective(
            name="latency",
            goal=f"95 % of calls end within {bound}",
            may_miss=P95_MAY_MISS,
            record=f"policy_server_tool:toolpolicy_slo_over_{bound}",
            bad=f"({every} - {within})",
            every=every,
        )


def _sum(metric: str, selector: str) -> str:
    return f"sum by (policy, server, tool) (FUNCTION({metric}{{{selector}}}[WINDOW]))"


def _over(template: str, function: str, window_s: int) -> str:
    return template.replace("FUNCTION", function).replace("WINDOW", _text(window_s))


def _records(objective: Objective, windows: Iterable[Windows]) -> Iterator[tuple[str, str]]:
    """Name and expression: the share of bad calls in every window, and in the long ones how many they are."""
    for each in windows:
        for window_s in (each.short_s, each.long_s):
            bad, every = (_over(text, "rate", window_s) for text in (objective.bad, objective.every))
            yield _ratio(objective, window_s), f"{bad}\n  / {every}"
        yield _count(objective, each.long_s), _over(objective.bad, "increase", each.long_s)


def _alert(alert: Alert, key: ToolKey, slo: Slo, objective: Objective, style: Style) -> dict[str, Any]:
    windows = scaled(alert, slo.window_s)
    over = " or ".join(f"{_text(each.long_s)} and {_text(each.short_s)}" for each in windows)
    namespace, _, name = key.policy.partition("/")
    return {
        "alert": alert.name,
        "expr": "\nor\n".join(_burning(key, objective, each) for each in windows),
        "labels": {"severity": alert.severity, "namespace": namespace, "objective": objective.name},
        "annotations": {
            "summary": f"{key.tool} uses its error budget {{{{ $value | humanize }}}} times as fast as it may"
            f" ({key.policy}, {objective.name})",
            "description": f"The objective of the tool {key.tool} on the server {key.server} is that {objective.goal},"
            f" over {slo.window_s // DAY_S} days, for the agents of policy {key.policy}. Over {over}, its budget was"
            " used {{ $value | humanize }} times as fast as it lasts. Next: kubectl describe toolpolicy"
            f" -n {namespace} {name} shows lastError and what is left of the budget.",
            "runbook_url": f"{style.runbooks.rstrip('/')}/{alert.name}.md",
        },
    }


def _burning(key: ToolKey, objective: Objective, windows: Windows) -> str:
    tool = f'{{policy="{key.policy}", server="{key.server}", tool="{key.tool}"}}'
    lines = [
        f"{_ratio(objective, window_s)}{tool} / {objective.may_miss:g} > {windows.burn_rate:g}"
        for window_s in (windows.long_s, windows.short_s)
    ]
    lines.append(f"{_count(objective, windows.long_s)}{tool} >= {LEAST_BAD}")
    return "(\n  " + "\n    and ".join(lines) + "\n)"


def _ratio(objective: Objective, window_s: int) -> str:
    return f"{objective.record}:ratio_rate{_text(window_s)}"


def _count(objective: Objective, window_s: int) -> str:
    return f"{objective.record}:increase{_text(window_s)}"


def _text(window_s: int) -> str:
    return duration.render(window_s * 1000)


def _minutes(seconds: float) -> int:
    return round(seconds / _MINUTE_S) * _MINUTE_S
