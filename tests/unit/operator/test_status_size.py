"""A status never outgrows its 32 KiB, whatever fails in however many pods."""

import json

from toolpolicy_api.status import CircuitPods, Condition, Override, Status, Tool, WorstPod
from toolpolicy_operator.document import LIMIT_BYTES, document

NOW = "2026-11-21T03:00:00Z"


def tool(number: int, state: str = "Open", text: str = "x" * 900, calls: int = 10) -> Tool:
    return Tool.model_validate(
        {
            "name": f"tool-{number}",
            "server": "kb",
            "state": state,
            "pods": CircuitPods(open=20),
            "calls": calls,
            "errors": 9 if state == "Open" else 0,
            "reason": text,
            "lastError": text,
            "worstPods": [WorstPod(pod=f"pod-{n}", state="Open", reason=text) for n in range(20)],
            "overrides": [
                Override(pod=f"pod-{n}", action="Disable", reason="maintenance", until="2026-11-21T03:00:00Z")
                for n in range(20)
            ],
        }
    )


def status(*tools: Tool) -> Status:
    healthy = Condition(
        type="Healthy", status="False", reason="CircuitOpen", message="many", last_transition_time=NOW
    )
    return Status(conditions=(healthy,), tools=tools)


def size_bytes(made: object) -> int:
    return len(json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode())


def test_a_small_one_is_whole() -> None:
    made = document(status(tool(1, text="short")))
    assert len(made["tools"][0]["worstPods"]) == 20
    assert made["tools"][0]["lastError"] == "short"


def test_what_is_least_needed_goes_first() -> None:
    made = document(status(*(tool(n) for n in range(4))))
    assert size_bytes(made) <= LIMIT_BYTES
    assert len(made["tools"]) == 4
    assert all(len(each["worstPods"]) == 3 for each in made["tools"])


def test_of_too_many_tools_those_that_work_are_left_out_and_counted() -> None:
    working = [tool(n, state="Closed", calls=n) for n in range(300)]
    broken = [tool(n) for n in range(300, 310)]
    made = document(status(*working, *broken))
    assert size_bytes(made) <= LIMIT_BYTES
    names = [each["name"] for each in made["tools"]]
    assert names[-10:] == [f"tool-{n}" for n in range(300, 310)]
    left_out = 310 - len(names)
    assert left_out > 0
    (healthy,) = made["conditions"]
    assert healthy["message"] == f"many; {left_out} more tools are not listed in status, for its size"
    kept = [int(name.removeprefix("tool-")) for name in names[:-10]]
    assert kept == list(range(300 - len(kept), 300)), (
        "the most used of those that work, in the policy's order"
    )
