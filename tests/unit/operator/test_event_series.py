"""Kubernetes Events: which there are, and how many occurrences become one."""

import copy
from typing import Any

import pytest

from tests.corpus.policies import GOOD
from toolpolicy_api.channel import CircuitState, ToolKey, Transition
from toolpolicy_operator.events import PODS_NAMED, Series, of_status, of_transition
from toolpolicy_operator.index import PodEntry, PolicyEntry, policy_entry

KEY = ToolKey("default/agent", "kb", "search")


def entry() -> PolicyEntry:
    document = copy.deepcopy(GOOD)
    document["metadata"]["uid"] = "u1"
    return policy_entry(document)


def pod(number: int = 1) -> PodEntry:
    return PodEntry("default", f"agent-{number}", f"uid-{number}", ())


def transition(after: CircuitState, **more: Any) -> Transition:
    return Transition(key=KEY, before="Closed", after=after, reason="3 consecutive failures", at_ms=1, **more)


def conditions(**reasons: str) -> dict[str, Any]:
    return {
        "conditions": [
            {"type": kind, "status": "?", "reason": reason, "message": f"{kind} says {reason}"}
            for kind, reason in reasons.items()
        ]
    }


def test_an_opening_says_why_and_until_when() -> None:
    event = of_transition(
        entry(), pod(), transition("Open", last_error="HTTP 503", open_until_ms=1_800_000_000_000)
    )
    assert (event.kind, event.reason, event.pod) == ("Warning", "CircuitOpened", "agent-1")
    assert event.text == (
        "search of kb: 3 consecutive failures; last error: HTTP 503; refused until 2027-01-15T08:00:00Z"
    )


def test_a_thousand_pods_are_one_series_that_names_a_few() -> None:
    series = Series()
    events = [of_transition(entry(), pod(number), transition("Open")) for number in range(1000)]
    assert len({event.name for event in events}) == 1
    for event in events:
        series.add(event)
    assert series.added == 1000
    named = ", ".join(f"agent-{n}" for n in range(PODS_NAMED))
    assert series.message.endswith(f"; in pods {named} and {1000 - PODS_NAMED} more")


def test_another_reason_is_another_series() -> None:
    opened = of_transition(entry(), pod(), transition("Open"))
    closed = of_transition(entry(), pod(), transition("Closed"))
    assert opened.name != closed.name


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, conditions(Accepted="Accepted", Programmed="Pending"), []),
        ({}, conditions(Accepted="Invalid"), [("Warning", "Invalid")]),
        (conditions(Accepted="Invalid"), conditions(Accepted="Invalid"), []),
        (conditions(Accepted="Invalid"), conditions(Accepted="Accepted"), [("Normal", "Accepted")]),
        (conditions(Accepted="Accepted"), conditions(Accepted="Conflict"), [("Warning", "Conflict")]),
        (conditions(Programmed="Pending"), conditions(Programmed="Nacked"), [("Warning", "Nacked")]),
        (conditions(Programmed="Nacked"), conditions(Programmed="Programmed"), [("Normal", "Programmed")]),
        (conditions(Healthy="Healthy"), conditions(Healthy="CircuitOpen"), []),
    ],
)
def test_a_status_tells_what_is_new_about_it(
    before: dict[str, Any], after: dict[str, Any], told: list[tuple[str, str]]
) -> None:
    assert [(event.kind, event.reason) for event in of_status(entry(), before, after)] == told
