"""What the cells say."""

from typing import Any

import pytest

from toolpolicy_api.channel import LATENCY_BOUNDS_MS, Override, ToolKey
from toolpolicy_sidecar.top import words
from toolpolicy_sidecar.view import CircuitView, FailedCall, Window

NOW_MS = 1_795_258_900_000


def circuit(tool: str = "search", **fields: Any) -> CircuitView:
    given: dict[str, Any] = {"key": ToolKey("ns/p", "kb", tool), "state": "Closed"}
    return CircuitView(**(given | fields))


def test_trouble_comes_first_and_what_nobody_calls_last() -> None:
    ordered = words.by_trouble(
        [
            circuit("idle"),
            circuit("used", calls=9),
            circuit("failing", calls=3, errors=1),
            circuit("off", state="Disabled"),
            circuit("open", state="Open"),
        ]
    )
    assert [c.key.tool for c in ordered] == ["open", "off", "failing", "used", "idle"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"state": "Open", "reason": "5 consecutive failures", "open_until_ms": NOW_MS + 40_200},
            "41 s more: 5 consecutive failures",
        ),
        ({"state": "Open", "reason": "forced open by policy"}, "forced open by policy"),
        ({"state": "HalfOpen", "reason": "open time over"}, "open time over"),
        ({"window": Window(failures_in_row=2, consecutive_failures=5)}, "2 of 5 failures in a row"),
        (
            {"window": Window(calls=4, failures=1, failure_percent=50, minimum_calls=10)},
            "25% of 50% failed (4 of 10 calls)",
        ),
        (
            {"window": Window(calls=20, failures=4, slow=5, failure_percent=50, slow_percent=80)},
            "20% of 50% failed, 25% of 80% slow (20 calls)",
        ),
        ({"window": Window(calls=20, failure_percent=50)}, ""),
        ({"errors": 1, "calls": 2, "last_error": "AttemptTimeout: late"}, "AttemptTimeout: late"),
        ({"last_error": "long ago"}, ""),
        ({"state": "Open", "reason": "50% \x1b[31mred\n"}, "50% \ufffd[31mred\ufffd"),
    ],
)
def test_why(fields: dict[str, Any], said: str) -> None:
    assert words.why(circuit(**fields), NOW_MS) == said


def test_a_switch_by_hand_says_until_when() -> None:
    override = Override("Disable", NOW_MS, "incident 7", "alice")
    said = words.why(circuit(state="Disabled", reason="disabled by hand (alice)", override=override), NOW_MS)
    assert said == f"disabled by hand (alice), until {words.clock(NOW_MS)}"


def test_numbers() -> None:
    assert words.error_percent(circuit(calls=8, errors=1)) == "12.5"
    assert words.error_percent(circuit()) == "-"
    assert words.busy(circuit(in_flight=3)) == "3"
    assert words.busy(circuit(in_flight=3, slots=3, waiting=2)) == "3/3+2"
    assert words.state(circuit(mode="Shadow")) == "Closed (Shadow)"
    assert words.tool(circuit("*")) == "kb/*"
    fast = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    assert words.p95(fast) == "-"
    assert words.p95([19, *fast[1:-1], 1]) == "5 ms"
    assert words.p95([18, *fast[1:-1], 2]) == ">2m"
    assert [words.took(ms) for ms in (0.4, 999, 1000, 99_000, 150_000)] == [
        "0 ms",
        "999 ms",
        "1.0 s",
        "99.0 s",
        "2m30s",
    ]


def test_what_happened_to_a_call() -> None:
    call = FailedCall(
        started_at_ms=NOW_MS,
        policy="ns/p",
        server="kb",
        tool="search",
        protocol="MCP",
        outcome="failure",
        error="HTTP 503",
        status=200,
        duration_ms=1.0,
        fallback="Static",
    )
    assert words.what(call) == "HTTP 503; fallback Static"
