"""A changed policy is in force in every pod at once, without a restart, and status proves it."""

import datetime as dt
import json
import time

import pytest

from localcluster.kube import wait_until
from tests.e2e.world import AGENTS, World
from tests.measured import measured

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


def applied(world: World, pod: str) -> list[tuple[int, float]]:
    """(generation of the policy, Unix time) of each snapshot that the pod's sidecar put in force: its log."""
    moments = []
    for line in world.kube.kubectl("logs", "-n", AGENTS, pod, "-c", "toolpolicy").splitlines():
        entry = json.loads(line)
        if entry.get("event") == "config applied":
            at = dt.datetime.fromisoformat(entry["time"]).timestamp()
            moments.append((entry["generations"][f"{AGENTS}/agent"], at))
    return moments


def patch_timeout(world: World, value: str) -> tuple[int, float, float]:
    """The new generation, and when kubectl was started and had returned."""
    patch = json.dumps([{"op": "replace", "path": "/spec/tools/0/timeout/total", "value": value}])
    started = time.time()
    generation = world.kube.kubectl(
        "patch",
        "toolpolicy",
        "agent",
        "-n",
        AGENTS,
        "--type=json",
        "-p",
        patch,
        "-o",
        "jsonpath={.metadata.generation}",
    )
    return int(generation), started, time.time()


def test_fifty_changes_reach_three_pods(world: World) -> None:
    pods = world.agents()
    assert len(pods) == 3
    before = restarts(world)
    original = world.policy()["spec"]["tools"][0]["timeout"]["total"]
    changes = []
    try:
        for change in range(CHANGES):
            changes.append(patch_timeout(world, f"{1001 + change}ms"))
            time.sleep(0.2)
    finally:
        patch_timeout(world, original)
    world.until_programmed()

    from_start, from_return = [], []
    for pod in pods:
        moments = applied(world, pod)
        for generation, started, returned in changes:
            enforced = min(at for applied_generation, at in moments if applied_generation >= generation)
            from_start.append(enforced - started)
            from_return.append(max(0.0, enforced - returned))
    for name, delays in (("kubectl was started", from_start), ("kubectl returned", from_return)):
        delays.sort()
        median, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99) - 1]
        measured(
            f"{CHANGES} changes x {len(pods)} pods, enforced after {name}: "
            f"median {median:.3f} s, p99 {p99:.3f} s, max {delays[-1]:.3f} s"
        )
    assert restarts(world) == before
    status = world.status()
    assert status["pods"] == {"matched": 3, "connected": 3, "upToDate": 3}
    for pod in pods:
        config = world.admin(pod, "/admin/config")
        (mine,) = [policy for policy in config["policies"] if policy["name"] == "agent"]
        assert mine["hash"] == status["hash"]
    assert from_start[-1] < 30


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
