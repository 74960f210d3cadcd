"""What the cluster and the sidecars say → the exact status, compared whole."""

import copy
import datetime as dt
from typing import Any

from tests.corpus.policies import GOOD
from toolpolicy_api import channel, snapshot
from toolpolicy_api.status import Budget, ToolSlo
from toolpolicy_operator.document import document
from toolpolicy_operator.fleet import GRACE_S, Fleet
from toolpolicy_operator.index import Index
from toolpolicy_operator.verdict import status_of

WALL = dt.datetime(2026, 11, 21, 3, 0, 0, tzinfo=dt.UTC)
NOW = "2026-11-21T03:00:00Z"


def policy(
    name: str = "agent", created: str = "2026-01-01T00:00:00Z", generation: int = 1, **spec: Any
) -> dict[str, Any]:
    made = copy.deepcopy(GOOD)
    made["metadata"] |= {
        "name": name,
        "uid": f"uid-{name}",
        "generation": generation,
        "creationTimestamp": created,
    }
    made["spec"] |= spec
    return made


def pod(name: str, app: str = "agent") -> dict[str, Any]:
    labels = {"app": app, "toolpolicy.dev/injected": "true"}
    return {
        "metadata": {"namespace": "default", "name": name, "uid": f"uid-{name}", "labels": labels},
        "status": {},
    }


class Scene:
    def __init__(self, *pods: str, **spec: Any) -> None:
        self.index, self.fleet = Index(), Fleet()
        self.index.put_policy(policy(**spec))
        for name in pods:
            self.index.put_pod(pod(name))

    def wanted(self, name: str) -> str:
        return self.index.assignment(self.index.pods[f"uid-{name}"]).hash

    def connect(self, name: str, now: float = 0.0, digest: str = "", **tools: str) -> None:
        uid = f"uid-{name}"
        self.fleet.connect(uid, digest or self.wanted(name), now)
        self.report(name, now, **tools)

    def report(self, name: str, now: float = 0.0, **tools: str) -> None:
        states = {"search": "Closed", "create": "Closed"} | tools
        servers = {"search": "kb", "create": "tickets"}
        reports = tuple(
            channel.ToolReport(
                key=channel.ToolKey("default/agent", servers[tool], tool),
                state=state,  # type: ignore[arg-type]
                calls=10,
                errors=4 if state == "Open" else 0,
                latency=(0, 9, 0, 1),
                last_transition_ms=1_000 if state != "Closed" else None,
                reason="3 consecutive failures" if state == "Open" else None,
                last_error="TotalTimeout: too late" if state == "Open" else None,
                open_until_ms=61_000 if state == "Open" else None,
            )
            for tool, state in states.items()
        )
        self.fleet.heartbeat(f"uid-{name}", reports, now)

    def status(self, name: str = "agent", now: float = 0.0) -> dict[str, Any]:
        return document(status_of(self.index.policies[f"default/{name}"], self.index, self.fleet, now, WALL))

    def condition(self, kind: str, name: str = "agent", now: float = 0.0) -> tuple[str, str, str]:
        (found,) = [c for c in self.status(name, now)["conditions"] if c["type"] == kind]
        return found["status"], found["reason"], found["message"]


def test_all_is_well() -> None:
    scene = Scene("a", "b")
    scene.connect("a")
    scene.connect("b")
    compiled = scene.index.policies["default/agent"].compiled
    assert compiled
    digest = snapshot.sha256(snapshot.encode(compiled))

    def condition(kind: str, reason: str, message: str) -> dict[str, Any]:
        return {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": NOW,
            "observedGeneration": 1,
        }

    def tool(name: str, server: str) -> dict[str, Any]:
        return {
            "name": name,
            "server": server,
            "state": "Closed",
            "pods": {"closed": 2, "open": 0, "halfOpen": 0, "disabled": 0, "unknown": 0},
            "calls": 20,
            "errors": 0,
            "errorPercent": "0",
            "p95Milliseconds": 50,
        }

    assert scene.status() == {
        "observedGeneration": 1,
        "observedTime": NOW,
        "hash": digest,
        "conditions": [
            condition("Accepted", "Accepted", "every field is enforced"),
            condition("Programmed", "Programmed", f"2/2 pods enforce {digest[:8]} (generation 1)"),
            condition("Healthy", "Healthy", "no circuit is open"),
        ],
        "pods": {"matched": 2, "connected": 2, "upToDate": 2},
        "ready": "2/2",
        "open": "",
        "calls": 40,
        "errorPercent": "0",
        "reason": "",
        "tools": [tool("search", "kb"), tool("create", "tickets")],
    }


def test_an_open_circuit_in_one_of_two_pods() -> None:
    scene = Scene("a", "b")
    scene.connect("a", search="Open")
    scene.connect("b")
    status = scene.status()
    assert status["open"] == "search(1/2)"
    assert status["errorPercent"] == "10"
    assert status["reason"] == "CircuitOpen: search: TotalTimeout: too late"
    search = status["tools"][0]
    assert search["state"] == "Mixed"
    assert search["pods"] == {"closed": 1, "open": 1, "halfOpen": 0, "disabled": 0, "unknown": 0}
    assert search["lastError"] == "TotalTimeout: too late"
    assert (search["lastTransitionTime"], search["openUntil"]) == (
        "1970-01-01T00:00:01Z",
        "1970-01-01T00:01:01Z",
    )
    assert search["worstPods"] == [
        {"pod": "a", "state": "Open", "errors": 4, "reason": "3 consecutive failures"}
    ]
    assert scene.condition("Healthy")[:2] == ("False", "CircuitOpen")


def test_a_switch_by_hand_says_who_and_why_and_until_when() -> None:
    scene = Scene("a")
    scene.connect("a")
    override = channel.Override("ForceClosed", 61_000, "false alarm", "alice")
    key = channel.ToolKey("default/agent", "kb", "search")
    scene.fleet.report("uid-a", (channel.ToolReport(key=key, state="Closed", override=override),))
    assert scene.status()["tools"][0]["overrides"] == [
        {
            "pod": "a",
            "action": "ForceClosed",
            "by": "alice",
            "reason": "false alarm",
            "until": "1970-01-01T00:01:01Z",
        }
    ]


def test_circuits_of_a_shadow_say_that_calls_pass() -> None:
    scene = Scene("a", mode="Shadow")
    scene.connect("a", search="Open", create="Disabled")
    accepted, healthy = scene.condition("Accepted"), scene.condition("Healthy")
    assert accepted[2] == "every field is decided and counted, and no call is touched (mode Shadow)"
    assert healthy[1] == "CircuitOpen"
    assert healthy[2].startswith("calls pass whatever a circuit says (mode Shadow); search: ")
    scene.report("a", search="Closed", create="Disabled")
    assert scene.status()["reason"] == "Disabled: calls pass whatever a circuit says (mode Shadow); create"


def test_what_was_never_heard_is_unknown() -> None:
    scene = Scene("a", "b")
    scene.connect("a")
    status = scene.status()
    assert [tool["state"] for tool in status["tools"]] == ["Mixed", "Mixed"]
    assert status["tools"][0]["pods"]["unknown"] == 1
    assert scene.condition("Programmed")[:2] == ("Unknown", "Disconnected")
    assert scene.condition("Healthy") == ("Unknown", "Unheard", "nothing is known of b")
    assert status["ready"] == "1/2"


def test_a_lost_connection_is_unknown_after_a_moments_grace() -> None:
    scene = Scene("a")
    scene.connect("a", now=100.0)
    scene.fleet.disconnect("uid-a", 105.0)
    assert scene.status(now=105.0)["tools"][0]["state"] == "Closed"
    assert scene.status(now=105.0)["pods"] == {"matched": 1, "connected": 1, "upToDate": 1}
    assert scene.status(now=105.1 + GRACE_S)["tools"][0]["state"] == "Unknown"


def test_a_silent_connection_is_unknown_after_thirty_seconds() -> None:
    scene = Scene("a")
    scene.connect("a", now=100.0)
    assert scene.status(now=129.9)["tools"][0]["state"] == "Closed"
    assert scene.status(now=130.1)["tools"][0]["state"] == "Unknown"
    assert scene.fleet.fading(130.5) == ["uid-a"]


def test_a_refused_snapshot_is_visible_with_the_sidecars_own_words() -> None:
    scene = Scene("a", "b")
    scene.connect("a")
    scene.connect("b", digest="older")
    nack = channel.Nack(
        version=1, hash=scene.wanted("b"), error="policies[0].redaction: pattern 'x': missing )"
    )
    scene.fleet.refuses("uid-b", nack)
    status, reason, message = scene.condition("Programmed")
    assert (status, reason) == ("False", "Nacked")
    assert message.endswith("refused by b: policies[0].redaction: pattern 'x': missing )")
    assert message.startswith("1/2 pods enforce ")
    scene.fleet.enforces("uid-b", scene.wanted("b"))
    assert scene.condition("Programmed")[:2] == ("True", "Programmed")


def test_a_change_is_pending_until_it_is_confirmed() -> None:
    scene = Scene("a")
    scene.connect("a")
    scene.index.put_policy(policy(generation=2, defaults={"timeout": {"total": "9s"}}))
    assert scene.condition("Programmed")[:2] == ("False", "Pending")
    scene.fleet.enforces("uid-a", scene.wanted("a"))
    assert scene.condition("Programmed")[:2] == ("True", "Programmed")


def test_an_invalid_policy_says_every_finding_and_is_sent_to_nobody() -> None:
    scene = Scene("a", tools=[{"name": "t", "server": "nowhere"}])
    assert scene.condition("Accepted") == (
        "False",
        "Invalid",
        "spec.tools[0].server: no server 'nowhere' in spec.servers; known: kb, tickets",
    )
    assert scene.condition("Programmed")[:2] == ("False", "Invalid")
    assert scene.index.assignment(scene.index.pods["uid-a"]).resolution.snapshot.policies == ()


def test_the_loser_of_a_claim_says_to_whom() -> None:
    scene = Scene("a")
    scene.index.put_policy(policy("rival", created="2026-02-01T00:00:00Z"))
    status, reason, message = scene.condition("Accepted", "rival")
    assert (status, reason) == ("True", "Conflict")
    assert message == (
        "not in effect: server kb belongs to the older default/agent; "
        "server tickets belongs to the older default/agent"
    )
    assert scene.condition("Accepted")[:2] == ("True", "Accepted")


def test_no_pod_matches() -> None:
    scene = Scene()
    assert scene.condition("Programmed")[:2] == ("Unknown", "NoPods")
    assert scene.status()["ready"] == "0/0"


def test_a_condition_that_stays_keeps_its_time() -> None:
    scene = Scene("a")
    scene.connect("a")
    entry = scene.index.policies["default/agent"]
    old = {
        "conditions": [{"type": "Healthy", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]
    }
    dated = document(status_of(entry._replace(status=old), scene.index, scene.fleet, 0.0, WALL))
    assert [c["lastTransitionTime"] for c in dated["conditions"]] == [NOW, NOW, "2020-01-01T00:00:00Z"]


def test_calls_of_unlisted_tools_are_shown_when_there_are_any() -> None:
    scene = Scene("a")
    scene.connect("a")
    report = channel.ToolReport(
        key=channel.ToolKey("default/agent", "kb", "*"), state="Closed", calls=3, errors=1
    )
    scene.fleet.report("uid-a", (report,))
    last = scene.status()["tools"][-1]
    assert (last["name"], last["server"], last["calls"], last["errorPercent"]) == ("*", "kb", 3, "33.3")


def test_status_stays_small_with_many_pods() -> None:
    scene = Scene(*(f"pod-{number:04}" for number in range(500)))
    for number in range(500):
        scene.connect(f"pod-{number:04}", search="Open")
    status = scene.status()
    assert len(str(status)) < 32 * 1024
    assert len(status["tools"][0]["worstPods"]) == 20
    assert status["open"] == "search(500/500)"


def test_pods_that_ended_or_were_never_injected_do_not_count() -> None:
    index = Index()
    plain = pod("plain")
    del plain["metadata"]["labels"]["toolpolicy.dev/injected"]
    assert not index.put_pod(plain)
    assert index.put_pod(pod("a"))
    ended = pod("a")
    ended["status"] = {"phase": "Succeeded"}
    assert index.put_pod(ended)
    assert index.pods == {}


def test_our_own_status_write_is_no_change() -> None:
    index = Index()
    assert index.put_policy(policy())
    assert not index.put_policy({**policy(), "status": {"ready": "1/1"}})
    assert index.put_policy(policy(generation=2))


def test_error_budgets_stand_with_their_tool_and_the_least_in_the_column() -> None:
    scene = Scene("a")
    scene.connect("a")
    slos = {
        channel.ToolKey("default/agent", server, tool): ToolSlo(
            since=NOW, availability=Budget(calls=100, bad=1, remaining_percent=left, burn_rate=rate)
        )
        for server, tool, left, rate in (("kb", "search", "12.5", "14.4"), ("tickets", "create", "80", None))
    }
    entry = scene.index.policies["default/agent"]
    found = document(status_of(entry, scene.index, scene.fleet, 0.0, WALL, slos=slos))
    assert found["budget"] == "search 12.5% 14.4x"
    (search, _) = found["tools"]
    assert search["slo"] == {
        "since": NOW,
        "availability": {"calls": 100, "bad": 1, "remainingPercent": "12.5", "burnRate": "14.4"},
    }
    assert "budget" not in scene.status()


def test_what_redaction_found_is_summed_over_pods() -> None:
    scene = Scene("a", "b")
    scene.connect("a")
    scene.connect("b")
    assert "redaction" not in scene.status()

    def found(policy: str, direction: channel.Direction, detector: str, count: int) -> channel.Finding:
        return channel.Finding(policy, direction, detector, count)

    ours, other = "default/agent", "default/other"
    scene.fleet.heartbeat(
        "uid-a", (), 1.0, (found(ours, "Request", "Email", 2), found(ours, "Response", "JWT", 1))
    )
    scene.fleet.heartbeat(
        "uid-b", (), 1.0, (found(ours, "Request", "Email", 3), found(other, "Request", "Email", 9))
    )
    assert scene.status()["redaction"] == {
        "total": 6,
        "found": [
            {"detector": "Email", "direction": "Request", "count": 5},
            {"detector": "JWT", "direction": "Response", "count": 1},
        ],
    }
    many = tuple(found(ours, "Request", f"d-{n}", n + 1) for n in range(30))
    scene.fleet.heartbeat("uid-a", (), 1.0, many)
    scene.fleet.heartbeat("uid-b", (), 1.0)
    told = scene.status()["redaction"]
    assert (told["total"], len(told["found"]), told["found"][0]["count"]) == (sum(range(31)), 20, 30)
    scene.fleet.heartbeat("uid-a", (), 1.0, (), (found(ours, "Response", "Phone", 3),))
    would = [{"detector": "Phone", "direction": "Response", "count": 3}]
    assert scene.status()["redaction"] == {"total": 0, "found": [], "wouldFind": would}
