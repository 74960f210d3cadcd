"""Prints the executive dashboard: do the agents' tools work, what did toolpolicy do about those that do not."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.panels import CHOSEN, OF_TOOL, board, now, number, over_time, query, text

CALLS = f'toolpolicy_tool_results_total{{{CHOSEN}, result!="disabled"}}'
GOOD = f'toolpolicy_tool_results_total{{{CHOSEN}, result=~"success|neutral"}}'
ANSWERED = f'toolpolicy_fallbacks_total{{{CHOSEN}, result="Answered"}}'


def dashboard() -> Dashboard:
    return (
        board("executive", "executive", "now-7d")
        .with_row(Row("Over the chosen time"))
        .with_panel(
            number(
                "Calls that worked",
                f"sum(increase({GOOD}[$__range])) / (sum(increase({CALLS}[$__range])) > 0)",
                "percentunit",
            )
        )
        .with_panel(number("Calls", f"sum(increase({CALLS}[$__range]))"))
        .with_panel(number("Answered by a fallback", f"sum(increase({ANSWERED}[$__range])) or vector(0)"))
        .with_panel(
            number(
                "Secrets and personal data taken out",
                f"sum(increase(toolpolicy_redactions_total{{{CHOSEN}}}[$__range])) or vector(0)",
            )
        )
        .with_row(Row("Which tools"))
        .with_panel(
            over_time(
                "Calls that work",
                "percentunit",
                query(
                    f"sum by (policy, tool) (rate({GOOD}[1h])) / (sum by (policy, tool) (rate({CALLS}[1h])) > 0)",
                    OF_TOOL,
                ),
            )
        )
        .with_panel(over_time("Calls", "reqps", query(f"sum by (policy) (rate({CALLS}[1h]))", "{{policy}}")))
        .with_panel(
            now(
                "The worst tools",
                "topk(10, sum by (policy, server, tool) "
                f'(increase(toolpolicy_tool_results_total{{{CHOSEN}, result="error"}}[$__range])))',
            )
        )
        .with_panel(
            now(
                "Alerts that fired",
                "max by (alertname, severity, policy, tool) "
                '(max_over_time(ALERTS{alertname=~"Toolpolicy.*", alertstate="firing"}[$__range]))',
            )
        )
    )


if __name__ == "__main__":
    print(text(dashboard()), end="")
