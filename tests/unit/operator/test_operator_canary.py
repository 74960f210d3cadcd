"""No secret that reaches the operator comes out of it: a canary stands wherever a policy or a sidecar can write a text,
and logs, metrics, status, Events, what the webhook answers and what is in ConfigMaps are searched for it. Names (of
pods, tools, policies) are names: they stay.
"""

import copy
import datetime as dt
import json
import logging
import re
import sys
from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest

from tests.corpus.policies import GOOD
from toolpolicy_api import channel
from toolpolicy_api.channel import ToolKey, ToolReport, Transition
from toolpolicy_api.json_lines import JsonLines
from toolpolicy_operator.document import document
from toolpolicy_operator.events import Event, Series, _body, of_status, of_transition
from toolpolicy_operator.fleet import Fleet
from toolpolicy_operator.index import INJECTED_LABEL, Index
from toolpolicy_operator.metrics import ConditionNow, Metrics
from toolpolicy_operator.slo.store import Budgets, _text
from toolpolicy_operator.verdict import status_of
from toolpolicy_operator.webhook.inject import Injection, inject
from toolpolicy_operator.webhook.sidecar import Sidecar
from toolpolicy_operator.webhook.validate import validate

CANARY = "sk-canaryQ7W2e9RtY4uZ3pLk8vB1"
SEARCHED = re.compile("(?i)canary|q7w2e9|c2stY2FuYXJ5")
TEXT = f"because of {CANARY}"
KEY = ToolKey("default/agent", "kb", "search")
WALL = dt.datetime(2026, 11, 21, 3, tzinfo=dt.UTC)


def policy(spoiled: dict[str, Any]) -> dict[str, Any]:
    made, version = copy.deepcopy(GOOD), 1 + bool(spoiled)
    made["metadata"] |= {
        "uid": "u1",
        "generation": version,
        "resourceVersion": str(version),
        "annotations": {"note": CANARY},
    }
    made["spec"] |= spoiled
    return made


def spoilt(value: Any) -> list[dict[str, Any]]:
    """The good policy with the canary in one of its texts at a time, where it is wrong."""
    tool = GOOD["spec"]["tools"][0]
    return [
        {"selector": value},
        {"mode": value},
        {"servers": [{"name": value, "protocol": "MCP", "url": "http://kb"}]},
        {"servers": [{"name": "kb", "protocol": "MCP", "url": value}]},
        {"servers": [{"name": "kb", "protocol": value, "url": "http://kb"}]},
        {"defaults": {"timeout": {"total": value}}},
        {"tools": [tool | {"timeout": {"total": value}}]},
        {"tools": [tool | {"fallback": {"tool": {"name": "x", "arguments": {value: value}}}}]},
        {"redaction": {"detectors": [value]}},
        {"redaction": {"patterns": [{"name": "a", "regex": f"({value}"}]}},
        {"redaction": {"patterns": [{"name": value, "regex": "a"}]}},
        {"redaction": {"detectors": ["Email"], "fields": [{"path": value, "action": "Mask"}]}},
        {"redaction": {"detectors": ["Email"], "allow": [{"regex": f"({value}"}]}},
        {"redaction": {"detectors": ["Email"], "headers": [f"a {value}"]}},
        {value: value},
    ]


def scene(spoiled: dict[str, Any]) -> tuple[Index, Fleet]:
    index, fleet = Index(), Fleet()
    index.put_policy(policy({}))
    labels = {"app": "agent", INJECTED_LABEL: "true", "owner": CANARY}
    metadata = {"name": "agent-1", "namespace": "default", "uid": "p1", "labels": labels}
    index.put_pod({"metadata": metadata | {"annotations": {"note": CANARY}}})
    if spoiled:
        index.put_policy(policy(spoiled))
    wanted = index.assignment(index.pods["p1"]).hash
    fleet.connect("p1", wanted, 0.0)
    fleet.heartbeat("p1", (report(),), 1.0)
    fleet.refuses("p1", channel.Nack(version=1, hash=wanted, error=TEXT))
    return index, fleet


def report() -> ToolReport:
    override = channel.Override("Disable", 61_000, TEXT, CANARY)
    return ToolReport(
        key=KEY,
        state="Open",
        calls=3,
        errors=3,
        last_transition_ms=1,
        reason=TEXT,
        last_error=TEXT,
        override=override,
    )


def shown(spoiled: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The status, and the Events that follow from it."""
    index, fleet = scene(spoiled)
    entry = index.policies["default/agent"]
    made = document(status_of(entry, index, fleet, 1.0, WALL))
    pod = index.pods["p1"]
    opened = Transition(key=KEY, before="Closed", after="Open", reason=TEXT, at_ms=1, last_error=TEXT)
    events: list[Event] = [*of_status(entry, {}, made), of_transition(entry, pod, opened)]
    bodies = []
    for event in events:
        series = Series()
        series.add(event)
        bodies.append(json.dumps(_body(event, "2026-11-21T03:00:00Z", 1, series.message)))
    return made, bodies


@pytest.mark.parametrize("spoiled", [{}, *spoilt(CANARY)])
def test_status_and_events(spoiled: dict[str, Any]) -> None:
    made, events = shown(spoiled)
    assert len(events) > 1
    for text in (json.dumps(made), *events):
        found = SEARCHED.search(text)
        assert not found, text[max(0, found.start() - 200) : found.end() + 50]
    (tool, *_) = made["tools"]
    assert tool["overrides"][0]["reason"] == "because of [redacted]"
    assert tool["overrides"][0]["by"] == "[redacted]"
    if spoiled:
        assert made["conditions"][0]["reason"] == "Invalid"


def test_logs() -> None:
    try:
        json.loads(TEXT)
    except ValueError as error:
        error.add_note(TEXT)
        record = logging.LogRecord("a", logging.ERROR, "f", 1, "failed: %s", (TEXT,), sys.exc_info())
    vars(record).update({"why": TEXT, "pods": [CANARY], "more": {"a": CANARY}, "hash": "1f2e3d4c"})
    line = JsonLines().format(record)
    assert "Q7W2e9" not in line  # the name of this file is in the traceback
    told = json.loads(line)
    assert (told["event"], told["why"], told["hash"]) == (
        "failed: because of [redacted]",
        "because of [redacted]",
        "1f2e3d4c",
    )


def test_metrics() -> None:
    metrics, (made, _) = Metrics(), shown({})
    metrics.conditions.read = lambda: [
        ConditionNow("default/agent", each["type"], each["status"], each["reason"])
        for each in made["conditions"]
    ]
    text = generate_latest(metrics.registry).decode()
    assert "toolpolicy_operator_policy_condition{" in text
    assert not SEARCHED.search(text)


def test_what_sidecars_say_is_in_no_configmap() -> None:
    """A bootstrap ConfigMap holds accepted policies, as the resources beside it do, and nothing that was reported."""
    index, _ = scene({"selector": CANARY})
    assert index.bootstrap("default").policies
    assert not SEARCHED.search(str(index.bootstrap("default")))


def test_what_sidecars_say_is_in_no_ledger_of_error_budgets() -> None:
    index = Index()
    made = policy({})
    made["spec"]["tools"][0]["slo"] = {"availability": 99.5, "window": "7d"}
    index.put_policy(made)
    (key,) = index.policies["default/agent"].slos
    budgets = Budgets(None, index, lambda: 1_790_000_000.0)  # type: ignore[arg-type]  # it sends nothing
    for calls in (0, 10):
        totals = channel.Totals(since_ms=1, calls=calls, errors=calls)
        budgets.hear("p1", [msgspec.structs.replace(report(), key=key, totals=totals)])
    kept = _text(budgets._books["default/agent"])
    assert '"ledgers":{"' in kept
    assert not SEARCHED.search(kept)


@pytest.mark.parametrize("spoiled", spoilt(CANARY))
def test_what_the_webhook_says_of_a_policy(spoiled: dict[str, Any]) -> None:
    verdict = validate({"operation": "CREATE", "object": policy(spoiled)})
    assert not verdict.allowed
    assert not SEARCHED.search(repr(verdict))


def test_what_the_webhook_says_of_a_pod() -> None:
    variable = {"name": "TOOLPOLICY_KB_URL", "value": CANARY}
    container = {"name": "agent", "image": CANARY, "env": [variable, {"name": "HTTP_PROXY", "value": CANARY}]}
    annotations = {
        f"toolpolicy.dev/{name}": CANARY for name in ("forward", "transparent", "log-level", "memory-limit")
    }
    labels = {"toolpolicy.dev/inject": "enabled", "owner": CANARY}
    pod = {"metadata": {"annotations": annotations, "labels": labels}, "spec": {"containers": [container]}}
    sidecar = Sidecar(image="toolpolicy:1", operator="wss://operator:443", version="1", forward=True)
    (entry,) = scene({})[0].policies.values()
    assert entry.compiled
    made = inject(pod, sidecar, entry.compiled.servers)
    assert isinstance(made, Injection)
    assert len(made.warnings) > 3
    assert not SEARCHED.search(repr((made.warnings, made.why)))
