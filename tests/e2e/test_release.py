"""helm install, upgrade, rollback, uninstall: agents go on, and nothing is left behind."""

import contextlib
import json
import threading
from typing import Self

import pytest

from localcluster import product
from localcluster.kube import Kube, wait_until
from tests.e2e.world import SYSTEM, World
from tests.measured import measured

pytestmark = pytest.mark.e2e

KINDS = (
    "mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings,"
    "customresourcedefinitions,validatingadmissionpolicies,validatingadmissionpolicybindings"
)


class Steady:
    """An agent that calls all the while; every answer that is an error is kept."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.calls = 0
        self.errors: list[str] = []

    def _run(self) -> None:
        pod = self._world.agent()
        while not self._stop.is_set():
            for answer in self._world.call("recommend_article", 10, pod=pod, pause_s=0.05, topic="steady"):
                self.calls += 1
                if answer.error:
                    self.errors.append(answer.text)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)


def left_behind(kube: Kube) -> list[str]:
    """Names of everything in the cluster that has toolpolicy in its name, the agents' own pods excepted."""
    cluster = kube.kubectl("get", KINDS, "-o", "name").splitlines()
    namespaced = kube.kubectl("get", "configmaps,secrets,leases", "-A", "-o", "json")
    names = [
        f"{item['kind']}/{item['metadata']['namespace']}/{item['metadata']['name']}"
        for item in json.loads(namespaced)["items"]
    ]
    return [name for name in [*cluster, *names] if "toolpolicy" in name.rpartition("/")[2]]


def test_upgrade_and_rollback_break_no_running_agent(world: World) -> None:
    with Steady(world) as steady:
        product.install(world.kube, world.tag, "operator.logLevel=debug")
        world.kube.helm("rollback", product.RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "3m")
        world.until_programmed(seconds=60)
    measured(f"upgrade and rollback: {steady.calls} calls meanwhile, {len(steady.errors)} failed")
    assert steady.calls > 0
    assert steady.errors == []


def test_uninstall_leaves_nothing_and_the_agents_go_on(world: World) -> None:
    policy = (product.DEMO / "policy.yaml").read_text(encoding="utf-8")
    with Steady(world) as steady:
        product.uninstall(world.kube)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not left_behind(world.kube), seconds=60, what="nothing is left", every_s=0.5)
        assert left_behind(world.kube) == []
        (answer,) = world.call("lookup_customer", ticket="1")
    assert "[redacted:Email]" in answer.text, "the last policy stays in force"
    assert steady.errors == []
    product.install(world.kube, world.tag)
    world.kube.apply(policy)
    # A new release has a new CA, and the kubelet renews a mounted ConfigMap within a minute or two.
    world.until_programmed(seconds=150)
    assert world.status()["pods"] == {"matched": 3, "connected": 3, "upToDate": 3}
