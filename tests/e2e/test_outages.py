"""Parts of toolpolicy die: agents go on, nothing is claimed that is not known, and all heals by itself."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcluster.kube import CommandFailed, wait_until
from tests.e2e.world import AGENTS, SYSTEM, World
from tests.measured import measured

pytestmark = pytest.mark.e2e


def scale(world: World, deployment: str, replicas: int) -> None:
    world.kube.kubectl("scale", f"deployment/{deployment}", "-n", SYSTEM, f"--replicas={replicas}")


def pods_of(world: World, part: str) -> list[Any]:
    found: list[Any] = world.kube.get(
        "pods", namespace=SYSTEM, selector=f"app.kubernetes.io/component={part}"
    )
    return found


def kill_all(world: World, part: str) -> None:
    """Scaled to nothing and killed without grace: no farewell, no release of the Lease."""
    scale(world, f"toolpolicy-{part}", 0)
    names = [pod["metadata"]["name"] for pod in pods_of(world, part)]
    if names:
        world.kube.kubectl("delete", "pod", "-n", SYSTEM, "--grace-period=0", "--force", *names)
    wait_until(lambda: not pods_of(world, part), seconds=60, what=f"{part} is gone")


@pytest.fixture
def no_operator(world: World) -> Iterator[None]:
    kill_all(world, "operator")
    yield
    scale(world, "toolpolicy-operator", 2)
    world.kube.kubectl("rollout", "status", "deployment/toolpolicy-operator", "-n", SYSTEM, "--timeout=120s")
    world.until_programmed(seconds=60)


def pod_like_the_agents(world: World, name: str, namespace: str = AGENTS) -> dict[str, Any]:
    template = world.kube.get("deployment", "agent", AGENTS)["spec"]["template"]
    labels = {"app": "agent", "extra": name}
    spec = {**template["spec"], "restartPolicy": "Always"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }


def ready(world: World, name: str, namespace: str = AGENTS) -> bool:
    conditions = world.kube.get("pod", name, namespace)["status"].get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def delete_pod(world: World, name: str, namespace: str = AGENTS) -> None:
    world.kube.kubectl(
        "delete", "pod", name, "-n", namespace, "--ignore-not-found", "--grace-period=1", "--wait"
    )


def test_agents_and_new_pods_do_without_the_operator(world: World, no_operator: None) -> None:
    (answer,) = world.call("lookup_customer", ticket="1")
    assert "[redacted:Email]" in answer.text

    world.kube.apply(pod_like_the_agents(world, "newcomer"))
    try:
        wait_until(lambda: ready(world, "newcomer"), seconds=60, what="a pod starts without the operator")
        config = world.admin("newcomer", "/admin/config")
        assert config["source"] == "bootstrap"
        (answer,) = world.call("lookup_customer", pod="newcomer", ticket="1")
        assert "[redacted:Email]" in answer.text
        assert "jane.doe" not in answer.text

        scale(world, "toolpolicy-operator", 2)
        world.kube.kubectl(
            "rollout", "status", "deployment/toolpolicy-operator", "-n", SYSTEM, "--timeout=120s"
        )
        returned = time.monotonic()

        def right() -> bool:
            pods = world.status().get("pods", {})
            return pods == {"matched": 4, "connected": 4, "upToDate": 4} and all(
                tool["state"] == "Closed" for tool in world.status()["tools"]
            )

        wait_until(right, seconds=60, what="all is right again")
        measured(
            f"operator back: status right for 4 pods {time.monotonic() - returned:.1f} s after it was ready"
        )
    finally:
        delete_pod(world, "newcomer")


def test_what_the_operator_cannot_know_is_unknown(world: World) -> None:
    """The sidecars of a pod are frozen: it stays connected by TCP, and says nothing."""
    pod = world.agents()[0]
    pid = sidecar_pid(world, pod)
    os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        tool = wait_until(
            lambda: (t := world.tool("search_knowledge_base")) and t["pods"].get("unknown", 0) == 1 and t,
            seconds=60,
            what="the silent pod's circuit is Unknown",
        )
        measured(f"a frozen sidecar is Unknown after {time.monotonic() - stopped:.1f} s")
        assert tool["state"] == "Mixed"
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(
        lambda: (t := world.tool("search_knowledge_base")) and t["state"] == "Closed",
        seconds=60,
        what="it is known again",
    )


def sidecar_pid(world: World, pod: str) -> int:
    """The process on this machine, found by the container's id in its cgroup."""
    statuses = world.kube.get("pod", pod, AGENTS)["status"]["initContainerStatuses"]
    (container,) = [
        item["containerID"].rsplit("/", 1)[1] for item in statuses if item["name"] == "toolpolicy"
    ]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if container in (entry / "cgroup").read_text(encoding="utf-8"):
                    return int(entry.name)
            except OSError:
                continue
    raise LookupError(f"no process of container {container}")


def test_a_killed_sidecar_is_back_with_its_policy_before_the_first_call(world: World) -> None:
    pod = world.agents()[0]
    os.kill(sidecar_pid(world, pod), signal.SIGKILL)
    killed = time.monotonic()

    def first_answer() -> str:
        """Hammers at the listener; the first call that gets through must be handled by the policy."""
        code = (
            "import asyncio, json, os\n"
            "from mcp import Client\n"
            "async def main():\n"
            "    for _ in range(600):\n"
            "        try:\n"
            "            async with Client(os.environ['TOOLPOLICY_KB_URL'], read_timeout_seconds=5) as c:\n"
            "                r = await c.call_tool('lookup_customer', {'ticket': '1'})\n"
            "                print(r.content[0].text); return\n"
            "        except Exception: await asyncio.sleep(0.05)\n"
            "asyncio.run(main())"
        )
        return world.execute(pod, "python", "-c", code).strip()

    answer = first_answer()
    measured(f"sidecar killed: a call got through after {time.monotonic() - killed:.1f} s: {answer!r}")
    assert answer == "Jane Doe <[redacted:Email]>, card [redacted:CreditCard], token [redacted:token]"
    world.until_programmed()


def refused(world: World, document: dict[str, Any]) -> str:
    try:
        world.kube.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(document))
    except CommandFailed as failed:
        return str(failed)
    return ""


def test_other_namespaces_start_undisturbed_without_the_webhook(world: World) -> None:
    kill_all(world, "webhook")
    plain = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bystander", "namespace": "demo-tools"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main",
                    "image": "toolpolicy-demo:dev",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "600"],
                }
            ],
        },
    }
    try:
        started = time.monotonic()
        world.kube.apply(plain)
        created_s = time.monotonic() - started
        wait_until(lambda: ready(world, "bystander", "demo-tools"), seconds=60, what="the bystander starts")
        measured(f"webhook down: a pod of another namespace was accepted in {created_s:.2f} s")
        assert "initContainers" not in world.kube.get("pod", "bystander", "demo-tools")["spec"]
        changed = json.loads(json.dumps(world.policy()))
        changed["metadata"] = {"name": "unchecked", "namespace": AGENTS}
        changed.pop("status", None)
        # A container outlives its force-deleted pod for a moment, and the API server's connection to it.
        refusal = wait_until(lambda: refused(world, changed), seconds=30, what="nothing is taken unchecked")
        assert "toolpolicy" in refusal
    finally:
        delete_pod(world, "bystander", "demo-tools")
        scale(world, "toolpolicy-webhook", 2)
        world.kube.kubectl(
            "rollout", "status", "deployment/toolpolicy-webhook", "-n", SYSTEM, "--timeout=120s"
        )
