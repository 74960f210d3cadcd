"""Prints the on-call dashboard: what is broken, since when, whom it hurts, where to look next."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.models.dashboard import ValueMap, ValueMappingResult

from dashboards.panels import (
    CHOSEN,
    HEIGHT,
    OF_TOOL,
    SOURCE,
    WHOLE,
    board,
    now,
    number,
    over_time,
    quantile,
    query,
    text,
)

STATES = {
    "0": ValueMappingResult(text="Closed", color="green"),
    "1": ValueMappingResult(text="HalfOpen", color="yellow"),
    "2": ValueMappingResult(text="Open", color="red"),
    "3": ValueMappingResult(text="Disabled", color="blue"),
}


def dashboard() -> Dashboard:
    circuits = "max by (policy, server, tool) (toolpolicy_circuit_state{" + CHOSEN + "})"
    return (
        board("on-call", "on call", "now-1h")
        .with_row(Row("What is broken"))
        .with_panel(
            now(
                "Alerts",
                "max by (alertname, severity, policy, server, tool) "
                '(ALERTS{alertname=~"Toolpolicy.*", alertstate="firing"})',
            )
        )
        .with_panel(
            now(
                "Policies that are not in force",
                'max by (policy, reason) (toolpolicy_operator_policy_condition{type="Programmed", status!="True"})',
            )
        )
        .with_panel(
            StateTimeline()
            .title("Circuits: the worst pod of each tool")
            .datasource(SOURCE)
            .span(WHOLE)
            .height(HEIGHT)
            .mappings([ValueMap(options=STATES)])
            .with_target(query(circuits, OF_TOOL))
        )
        .with_row(Row("Tools: how badly, since when, why"))
        .with_panel(
            over_time(
                "Calls that fail",
                "percentunit",
                query(f"policy_server_tool:toolpolicy_tool_errors:ratio_rate5m{{{CHOSEN}}}", OF_TOOL),
            )
        )
        .with_panel(
            over_time(
                "Why",
                "reqps",
                query(
                    f'sum by (reason) (rate(toolpolicy_tool_calls_total{{{CHOSEN}, outcome=~"failure|refused"}}[5m]))',
                    "{{reason}}",
                ),
            )
        )
        .with_panel(
            over_time(
                "Duration, p95",
                "s",
                query(
                    quantile(0.95, "toolpolicy_tool_call_duration_seconds", "policy, tool"),
                    OF_TOOL,
                    exemplars=True,  # a recorded series has none
                ),
            )
        )
        .with_panel(
            over_time(
                "The tools' own time, p95",
                "s",
                query(quantile(0.95, "toolpolicy_upstream_duration_seconds", "policy, tool"), OF_TOOL),
            )
        )
        .with_row(Row("Whom it hurts"))
        .with_panel(
            over_time(
                "Failed calls, by policy and pod",
                "reqps",
                query(
                    f"topk(10, sum by (policy, pod) "
                    f'(rate(toolpolicy_tool_calls_total{{{CHOSEN}, outcome=~"failure|refused"}}[5m])))',
                    "{{policy}} {{pod}}",
                ),
            )
        )
        .with_panel(
            over_time(
                "Fallbacks",
                "reqps",
                query(
                    f"sum by (fallback, result) (rate(toolpolicy_fallbacks_total{{{CHOSEN}}}[5m]))",
                    "{{fallback}} {{result}}",
                ),
            )
        )
        .with_row(Row("toolpolicy itself"))
        .with_panel(number("Leaders (1)", "sum(toolpolicy_operator_leader)"))
        .with_panel(number("Sidecars connected", "max(toolpolicy_operator_sidecars_connected)"))
        .with_panel(number("Pods with a sidecar", "max(toolpolicy_operator_pods)"))
        .with_panel(number("Policies", "max(toolpolicy_operator_policies)"))
    )


if __name__ == "__main__":
    print(text(dashboard()), end="")
