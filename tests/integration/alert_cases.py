"""What Prometheus has scraped, a value each 30 s, and which alerts that makes fire when."""

from typing import NamedTuple

from toolpolicy_sidecar.reasons import CallOutcome
from toolpolicy_sidecar.tool_calls import result

TOOL = {"policy": "support/agent", "server": "kb", "tool": "search"}
POLICY = {"policy": "support/agent"}
BY_POLICY = {"namespace": "support"}
"""What the rules add."""


class Firing(NamedTuple):
    alert: str
    labels: dict[str, str]
    value: str = ""
    """As the annotations show it."""


class Case(NamedTuple):
    title: str
    series: dict[str, str]
    """promtool's notation: `0+10x20` is 0, 10, … 200; `_x20` is missing 20 times; `stale` ends a series."""
    at: dict[str, list[Firing]]
    """Minutes → these alerts fire, and no others."""


def series(name: str, labels: dict[str, str]) -> str:
    return f"{name}{{{','.join(f'{key}={value!r}' for key, value in labels.items())}}}"


def calls(outcome: CallOutcome, reason: str = "", pod: str = "a") -> str:
    labels = {**TOOL, "result": result(outcome, reason), "pod": pod, "namespace": "elsewhere"}
    return series("toolpolicy_tool_results_total", labels)


def turns(le: str) -> str:
    return series("toolpolicy_session_iterations_bucket", {**POLICY, "le": le, "pod": "a"})


def sessions() -> str:
    return series("toolpolicy_session_iterations_count", {**POLICY, "pod": "a"})


IN_POD = {"namespace": "support", "pod": "a"}


def lost(recorder: str) -> str:
    return series("toolpolicy_call_records_lost_total", {**IN_POD, "recorder": recorder})


def dropped(reason: str, pod: str) -> str:
    labels = {"namespace": "support", "pod": pod, "signal": "traces", "reason": reason}
    return series("toolpolicy_telemetry_dropped_total", labels)


def circuit(pod: str) -> str:
    return series("toolpolicy_circuit_state", {**TOOL, "pod": pod})


def duration(le: str) -> str:
    return series("toolpolicy_tool_call_duration_seconds_bucket", {**TOOL, "le": le, "pod": "a"})


def programmed(status: str, reason: str) -> str:
    labels = {**POLICY, "type": "Programmed", "status": status, "reason": reason}
    return series("toolpolicy_operator_policy_condition", labels)


def bad_from_10_to_20(each: int) -> str:
    """A counter, by this much each 30 s."""
    return f"0x20 {each}+{each}x19 {each * 20}x40"


STEADY = "0+{}x80"
LEADS = {series("toolpolicy_operator_leader", {"pod": "a"}): "1x80"}
IN_USE = {calls("success"): STEADY.format(10)}
TOOL_NOW = {**TOOL, **BY_POLICY}
POLICY_NOW = {**POLICY, **BY_POLICY}

CASES = [
    Case("a healthy tool", IN_USE, {"3m": [], "10m": [], "30m": []}),
    Case(
        "half of the calls fail, and recover",
        {**IN_USE, calls("failure", "TotalTimeout"): bad_from_10_to_20(10)},
        {"10m": [], "16m": [Firing("ToolpolicyToolFailing", TOOL_NOW, "50%")], "26m": []},
    ),
    Case(
        "one broken tool pages once: it is slow, its circuits are open, its calls are refused",
        {
            calls("success"): "0+10x20 200x60",
            calls("failure", "TotalTimeout"): bad_from_10_to_20(5),
            calls("refused", "CircuitOpen", "b"): bad_from_10_to_20(5),
            circuit("a"): "0x20 2x19 0x40",
            circuit("b"): "0x20 2x19 0x40",
            duration("5"): "0+10x20 200x60",
            duration("10"): "0+10x20 210+10x19 400x40",
            duration("+Inf"): "0+10x20 210+10x19 400x40",
        },
        {"10m": [], "16m": [Firing("ToolpolicyToolFailing", TOOL_NOW, "100%")], "26m": []},
    ),
    Case(
        "a tool breaks at once and wholly: nothing milder before its alert, nor after it",
        {
            calls("success"): "0+10x20 200x18 210+10x40",
            calls("failure", "TotalTimeout"): "0x20 10+10x18 190x41",
            circuit("a"): "0x20 2x19 0x40",
            duration("5"): "0+10x20 200x2 210+10x57",
            duration("10"): STEADY.format(10),
            duration("+Inf"): STEADY.format(10),
        },
        {
            **{time: [] for time in ("10m", "10m30s", "11m")},
            "11m30s": [Firing("ToolpolicyToolFailing", TOOL_NOW, "30%")],
            "12m30s": [Firing("ToolpolicyToolFailing", TOOL_NOW, "50%")],
            "16m": [Firing("ToolpolicyToolFailing", TOOL_NOW, "100%")],
            "23m": [Firing("ToolpolicyToolFailing", TOOL_NOW, "30%")],
            **{time: [] for time in ("23m30s", "24m", "24m30s", "25m", "26m")},
        },
    ),
    Case(
        "15 % of the calls fail, of several reasons, and recover",
        {
            calls("success"): STEADY.format(17),
            calls("failure", "ServerError"): bad_from_10_to_20(2),
            calls("refused", "CircuitOpen", "b"): bad_from_10_to_20(1),
        },
        {"10m": [], "16m": [Firing("ToolpolicyToolErrors", TOOL_NOW, "15%")], "26m": []},
    ),
    Case(
        "9 % of the calls fail",
        {calls("success"): STEADY.format(91), calls("failure", "ServerError"): STEADY.format(9)},
        {"16m": []},
    ),
    Case(
        "what says nothing about the tool: switched off, the caller's fault",
        {
            calls("success"): STEADY.format(10),
            calls("refused", "ToolDisabled"): STEADY.format(50),
            calls("neutral", "ClientError"): STEADY.format(50),
        },
        {"16m": []},
    ),
    Case(
        "a fifth fails where the tool is still on: calls refused elsewhere, where it was switched off, hide nothing",
        {
            calls("success"): STEADY.format(8),
            calls("failure", "ServerError"): STEADY.format(2),
            calls("refused", "ToolDisabled", "b"): STEADY.format(50),
        },
        {"16m": [Firing("ToolpolicyToolErrors", TOOL_NOW, "20%")]},
    ),
    Case(
        "two failures in five minutes",
        {calls("failure", "ServerError"): "0x20 1x4 2x60"},
        {"14m": []},
    ),
    Case(
        "an open circuit of a tool that is hardly called: open and half-open in turns, then closed",
        {
            circuit("a"): "0x20 2x4 1 2x4 1 2x9 0x40",
            circuit("b"): "0x20 2x19 0x40",
            circuit("c"): "3x80",
        },
        {
            "10m": [],
            "10m30s": [],
            "13m": [Firing("ToolpolicyCircuitOpen", TOOL_NOW, "2")],
            "19m": [Firing("ToolpolicyCircuitOpen", TOOL_NOW, "2")],
            "22m": [],
        },
    ),
    Case(
        "a fifth of the calls is throttled, by the tool or while it is left alone",
        {
            calls("success"): STEADY.format(8),
            calls("failure", "Throttled"): bad_from_10_to_20(1),
            calls("refused", "Throttled", "b"): bad_from_10_to_20(1),
        },
        {"10m": [], "16m": [Firing("ToolpolicyToolThrottled", TOOL_NOW, "20%")], "26m": []},
    ),
    Case(
        "a tenth of the calls takes 5 to 10 s",
        {
            **IN_USE,
            duration("5"): "0+10x20 209+9x19 390+10x40",
            duration("10"): STEADY.format(10),
            duration("+Inf"): STEADY.format(10),
        },
        {"10m": [], "16m": [Firing("ToolpolicyToolSlow", TOOL_NOW, "7.5s")], "26m": []},
    ),
    Case(
        "the first calls of a tool that is hardly used fail: its series were there before them",
        {calls("success"): "0x80", calls("failure", "ServerError"): "0x20 6x60"},
        {"10m": [], "11m": [Firing("ToolpolicyToolFailing", TOOL_NOW, "100%")], "17m": []},
    ),
    Case(
        "a tenth of the sessions takes 10 to 15 turns for a while",
        {
            turns("7"): "0+10x20 209+9x35 534+10x60",
            turns("10"): "0+10x20 209+9x35 534+10x60",
            turns("15"): STEADY.format(10).replace("80", "120"),
            turns("+Inf"): STEADY.format(10).replace("80", "120"),
            sessions(): STEADY.format(10).replace("80", "120"),
        },
        {"10m": [], "27m": [Firing("ToolpolicySessionsLoop", POLICY_NOW, "12.5")], "44m": []},
    ),
    Case(
        "three long sessions in a quarter of an hour say nothing",
        {
            turns("7"): "0x80",
            turns("100"): "0x20 1x4 2x4 3x60",
            turns("+Inf"): "0x20 1x4 2x4 3x60",
            sessions(): "0x20 1x4 2x4 3x60",
        },
        {"16m": [], "24m": []},
    ),
    Case(
        "pods without a sidecar, as two leaders in turn tell; a rollout that is quick is none",
        {
            series("toolpolicy_operator_pods_without_sidecar", {**POLICY, "pod": "a"}): "0x20 2x19 stale",
            series("toolpolicy_operator_pods_without_sidecar", {**POLICY, "pod": "b"}): "_x40 2x9 0x40",
            series(
                "toolpolicy_operator_pods_without_sidecar", {"policy": "support/other", "pod": "a"}
            ): "0x20 1x10 0x60",
        },
        {
            "10m": [],
            "19m": [],
            "21m": [Firing("ToolpolicyPodsWithoutSidecar", POLICY_NOW, "2")],
            "24m": [Firing("ToolpolicyPodsWithoutSidecar", POLICY_NOW, "2")],
            "26m": [],
        },
    ),
    Case(
        "a recorder has lost three calls",
        {lost("LogRecorder"): "0x20 3x80", lost("Metrics"): "0x100"},
        {
            "10m": [],
            "12m": [Firing("ToolpolicyRecordsIncomplete", {**IN_POD, "recorder": "LogRecorder"}, "3")],
            "30m": [],
        },
    ),
    Case(
        "a collector is away for five minutes: two pods lose spans, one alert",
        {
            dropped("NotDelivered", "a"): "0x20 10+10x9 100x60",
            dropped("NotDelivered", "b"): "0x20 10+10x9 100x60",
            dropped("QueueFull", "a"): "0x100",
        },
        {
            "10m": [],
            "16m": [
                Firing(
                    "ToolpolicyTelemetryDropped",
                    {"namespace": "support", "signal": "traces", "reason": "NotDelivered"},
                    "200",
                )
            ],
            "35m": [],
        },
    ),
    Case(
        "a sidecar refuses a policy until its pod is replaced",
        {
            programmed("True", "Programmed"): "1x19 stale _x19 1x40",
            programmed("False", "Nacked"): "_x20 1x19 stale",
        },
        {
            "10m": [],
            "10m30s": [],
            "12m": [Firing("ToolpolicyPolicyNacked", POLICY_NOW)],
            "19m": [Firing("ToolpolicyPolicyNacked", POLICY_NOW)],
            "21m": [],
        },
    ),
    Case(
        "an invalid policy until it is corrected",
        {
            programmed("True", "Programmed"): "1x19 stale _x19 1x40",
            programmed("False", "Invalid"): "_x20 1x19 stale",
        },
        {
            "14m": [],
            "16m": [Firing("ToolpolicyPolicyNotProgrammed", {**POLICY_NOW, "reason": "Invalid"})],
            "21m": [],
        },
    ),
    Case(
        "a change under way, and a policy without pods",
        {
            programmed("False", "Pending"): "_x20 1x3 stale",
            programmed("Unknown", "NoPods").replace("agent", "other"): "1x80",
        },
        {"11m": [], "16m": [], "30m": []},
    ),
    Case(
        "a sidecar that is gone, and comes back",
        {
            programmed("True", "Programmed"): "1x19 stale _x19 1x40",
            programmed("Unknown", "Disconnected"): "_x20 1x19 stale",
        },
        {"14m": [], "16m": [Firing("ToolpolicySidecarDisconnected", POLICY_NOW)], "21m": []},
    ),
    Case(
        "nobody leads: the one alert, though no policy can be told of",
        {
            series("toolpolicy_operator_leader", {"pod": "a"}): "1x19 0x19 1x40",
            series("toolpolicy_operator_leader", {"pod": "b"}): "0x80",
            programmed("True", "Programmed"): "1x19 stale _x19 1x40",
        },
        {"10m": [], "11m": [], "13m": [Firing("ToolpolicyOperatorNoLeader", {})], "21m": []},
    ),
    Case(
        "a watch has missed two changes",
        {series("toolpolicy_operator_watch_missed_total", {"pod": "a"}): "0x20 2x80"},
        {"10m": [], "12m": [Firing("ToolpolicyWatchMissed", {})], "30m": []},
    ),
    Case(
        "the channel's certificate is not renewed until the 30th minute; replicas that stand by show none",
        {
            series("toolpolicy_operator_certificate_expires_seconds", {"pod": "a"}): "1210200x59 7776000x20",
            series("toolpolicy_operator_certificate_expires_seconds", {"pod": "b"}): "0x80",
            series("toolpolicy_webhook_certificate_expiry_timestamp_seconds", {"pod": "c"}): "7776000x80",
        },
        {
            "10m": [],
            "24m": [],
            "26m": [
                Firing("ToolpolicyCertificateExpiring", {"certificate": "control channel"}, "13d 23h 44m 0s")
            ],
            "31m": [],
        },
    ),
    Case(
        "the webhook's certificate",
        {
            series(
                "toolpolicy_webhook_certificate_expiry_timestamp_seconds", {"pod": "c"}
            ): "1210200x59 7776000x20"
        },
        {
            "10m": [],
            "26m": [Firing("ToolpolicyCertificateExpiring", {"certificate": "webhook"}, "13d 23h 44m 0s")],
            "31m": [],
        },
    ),
]
