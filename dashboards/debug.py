"""Prints the debug dashboard: what one tool's calls go through, and how the sidecars themselves are."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.panels import CHOSEN, OF_TOOL, board, now, over_time, quantile, query, text

IN_POD = "{{namespace}}/{{pod}}"


def dashboard() -> Dashboard:
    calls = "toolpolicy_tool_call_duration_seconds"
    return (
        board("debug", "debug", "now-1h")
        .with_row(Row("What calls go through"))
        .with_panel(
            over_time(
                "Outcomes and reasons",
                "reqps",
                query(
                    f"sum by (outcome, reason) (rate(toolpolicy_tool_calls_total{{{CHOSEN}}}[5m]))",
                    "{{outcome}} {{reason}}",
                ),
            )
        )
        .with_panel(
            over_time(
                "Transitions of circuits",
                "reqps",
                query(
                    f"sum by (tool, to) (rate(toolpolicy_circuit_transitions_total{{{CHOSEN}}}[5m]))",
                    "{{tool}} to {{to}}",
                ),
            )
        )
        .with_panel(
            over_time(
                "Duration: p50, p95, p99",
                "s",
                *(
                    query(quantile(of, calls, "tool"), f"{{{{tool}}}} {of}", exemplars=of == 0.5)
                    for of in (0.5, 0.95, 0.99)
                ),
            )
        )
        .with_panel(
            over_time(
                "Further attempts, by what had failed",
                "reqps",
                query(
                    f"sum by (tool, reason) (rate(toolpolicy_tool_retries_total{{{CHOSEN}}}[5m]))",
                    "{{tool}} {{reason}}",
                ),
            )
        )
        .with_panel(
            over_time(
                "Calls in flight, and waiting",
                "none",
                query(f"sum by (policy, tool) (toolpolicy_tool_calls_in_flight{{{CHOSEN}}})", OF_TOOL),
                query(
                    f"sum by (policy, tool) (toolpolicy_tool_calls_queued{{{CHOSEN}}})", f"waiting: {OF_TOOL}"
                ),
            )
        )
        .with_panel(
            over_time(
                "Sessions: most turns so far",
                "none",
                query(
                    'max by (policy) (toolpolicy_session_live_iterations{policy=~"$policy"})', "{{policy}}"
                ),
            )
        )
        .with_row(Row("The sidecars themselves"))
        .with_panel(
            over_time(
                "CPU",
                "percentunit",
                query(
                    "rate(process_cpu_seconds_total[5m]) and on (namespace, pod) toolpolicy_config_info",
                    IN_POD,
                ),
            )
        )
        .with_panel(
            over_time(
                "Memory",
                "bytes",
                query("process_resident_memory_bytes and on (namespace, pod) toolpolicy_config_info", IN_POD),
            )
        )
        .with_panel(
            now("Configuration in force", "count by (hash, source) (toolpolicy_config_info)"),
        )
        .with_panel(
            over_time(
                "Calls without a record, telemetry thrown away",
                "none",
                query("sum by (recorder) (increase(toolpolicy_call_records_lost_total[5m]))", "{{recorder}}"),
                query(
                    "sum by (signal, reason) (increase(toolpolicy_telemetry_dropped_total[5m]))",
                    "{{signal}} {{reason}}",
                ),
            )
        )
    )


if __name__ == "__main__":
    print(text(dashboard()), end="")
