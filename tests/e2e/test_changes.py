"""A changed policy is in force in every pod at once, without a restart, and status proves it."""

import datetime
import json
import time

import pytest

from localcluster.kube import wait_until
from tests.e2e.world import AGENTS, World

pytestmark = pytest.mark.e2e
CHANGES = 50


def restarts(world: World) -> dict[str, int]:
    pods = world.kube.get("pods", namespace=AGENTS, selector="app=agent")
    return {
        f"{pod['metadata']['name']}/{pod['metadata']['uid']}": sum(
            status["restartCount"]
            for status in pod["status"].get("initContainerStatuses", []) + pod["status"]["containerStatuses"]
        )
        for pod in pods
    }


def applied(world: World, pod: str) -> dict[str, float]:
    """Hash of each snapshot that the pod's sidecar put in force → Unix time, from its log."""
    moments = {}
    for line in world.kube.kubectl("logs", "-n", AGENTS, pod, "-c", "toolpolicy").splitlines():
        entry = json.loads(line)
        if entry.get("event") == "config applied":
            moments[entry["hash"]] = datetime.datetime.fromisoformat(entry["time"]).timestamp()
    return moments


def test_fifty_changes_reach_three_pods(world: World) -> None:
    pods = world.agents()
    assert len(pods) == 3
    before = restarts(world)
    original = world.policy()["spec"]["tools"][0]["timeout"]
    done: list[tuple[float, dict[str, str]]] = []
    try:
        for change in range(CHANGES):
            patch = [{"op": "replace", "path": "/spec/tools/0/timeout/total", "value": f"{1001 + change}ms"}]
            world.kube.kubectl(
                "patch", "toolpolicy", "agent", "-n", AGENTS, "--type=json", "-p", json.dumps(patch)
            )
            at = time.time()
            hashes = {pod: "" for pod in pods}
            done.append((at, hashes))
            time.sleep(0.2)
    finally:
        world.kube.kubectl(
            "patch", "toolpolicy", "agent", "-n", AGENTS, "--type=json",
            "-p", json.dumps([{"op": "replace", "path": "/spec/tools/0/timeout", "value": original}]),
        )  # fmt: skip
    world.until_programmed()

    delays: list[float] = []
    for pod in pods:
        moments = sorted(applied(world, pod).values())
        for at, _ in done:
            # The first snapshot put in force after kubectl returned, or within the command itself.
            later = [moment for moment in moments if moment >= at - 1.0]
            assert later, f"{pod} never applied the change of {at}"
            delays.append(max(0.0, min(later, key=lambda moment: abs(moment - at)) - at))
    delays.sort()
    p99 = delays[int(len(delays) * 0.99) - 1]
    print(
        f"\n{CHANGES} changes x {len(pods)} pods: enforced {delays[len(delays) // 2]:.3f} s (median), "
        f"{p99:.3f} s (p99), {delays[-1]:.3f} s (max) after kubectl returned"
    )
    assert restarts(world) == before
    status = world.status()
    assert status["pods"] == {"matched": 3, "connected": 3, "upToDate": 3}
    for pod in pods:
        config = world.admin(pod, "/admin/config")
        (mine,) = [policy for policy in config["policies"] if policy["name"] == "agent"]
        assert mine["hash"] == status["hash"]
    assert delays[-1] < 30


def test_a_second_policy_for_the_same_tool_loses_and_says_so(world: World) -> None:
    rival = json.loads(json.dumps(world.policy()))
    rival["metadata"] = {"name": "rival", "namespace": AGENTS}
    rival.pop("status", None)
    world.kube.apply(rival)
    try:
        condition = wait_until(
            lambda: (c := world.condition("Accepted", "rival")) and c["reason"] == "Conflict" and c,
            seconds=20,
            what="the rival's Accepted says Conflict",
        )
        assert "demo/agent" in condition["message"]
        assert "kb" in condition["message"]
        assert world.condition("Accepted")["reason"] != "Conflict"
    finally:
        world.kube.kubectl("delete", "toolpolicy", "rival", "-n", AGENTS)


def test_a_bad_policy_is_refused_with_field_and_remedy(world: World) -> None:
    bad = json.loads(json.dumps(world.policy()))
    bad["metadata"] = {"name": "bad", "namespace": AGENTS}
    bad.pop("status", None)
    bad["spec"]["redaction"]["patterns"] = [{"name": "x", "regex": "(?=a)b"}]
    with pytest.raises(RuntimeError, match=r"spec\.redaction\.patterns\[0\]\.regex.*RE2"):
        world.kube.apply(bad)
