"""The commands of runbooks and of docs/operating.md that ask nothing of a node, as they are written, against a real API
server and a real release."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import localcluster
from localcluster import binaries
from localcluster.kube import CommandFailed, Kube
from tests.commands import POLICIES, ROOT, Command, failures, of_docs, of_policy
from tests.integration.foreign_kinds import of_prometheus, that_asks_nothing
from tests.integration.test_operator import Operator

pytestmark = pytest.mark.integration
SYSTEM, AGENTS = "toolpolicy-system", "support"
POLICY = ROOT / "examples/policies/support-agent.yaml"
VALUES = ("webhook.validator.failurePolicy=Ignore", "webhook.validator.timeoutSeconds=1")
"""The webhook that would say yes has no node to run on here."""


class World(NamedTuple):
    environment: dict[str, str]
    names: dict[str, str]

    def failures(self, commands: list[Command]) -> list[str]:
        return failures(commands, self.names, self.environment)


def installing() -> str:
    """As docs/operating.md has it."""
    (found,) = {each.text for each in of_docs() if each.text.startswith("helm install ")}
    return found


def workload(kube: Kube) -> str:
    """A Deployment of agents; the name of its pod, which nobody runs."""
    labels = {"app": "support-agent", "toolpolicy.dev/injected": "true"}
    kube.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "support-agent", "namespace": AGENTS},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "agent", "image": "none"}]},
                },
            },
        }
    )
    return until(lambda: pod(kube, AGENTS, "app=support-agent"))


def pod(kube: Kube, namespace: str, selector: str) -> str:
    return next(
        (each["metadata"]["name"] for each in kube.get("pods", namespace=namespace, selector=selector)), ""
    )


def until(probe: Any) -> str:
    ends = time.monotonic() + 60
    while True:
        try:
            if found := probe():
                return str(found)
        except CommandFailed:
            pass
        assert time.monotonic() < ends
        time.sleep(0.2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A control plane of its own: a release named as in the runbooks, in its second revision, its operator at work."""
    folder = tmp_path_factory.mktemp("runbooks")
    with localcluster.control_plane() as kube:
        for namespace in (SYSTEM, AGENTS):
            kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for definition in (
            of_prometheus("podmonitors"),
            of_prometheus("prometheusrules"),
            that_asks_nothing("cert-manager.io", "v1", "Certificate"),
        ):
            kube.apply(definition)
        sets = [part for value in VALUES for part in ("--set", value)]
        kube.helm(*installing().split()[1:], *sets)
        kube.helm("upgrade", "toolpolicy", "charts/toolpolicy", "-n", SYSTEM, *sets)
        until(lambda: kube.apply(POLICY.read_text(encoding="utf-8")))
        replica = until(lambda: pod(kube, SYSTEM, "app.kubernetes.io/component=operator"))
        operator = Operator(kube.kubeconfig, replica, folder / "operator.log")
        try:
            until(lambda: kube.get("secret", "toolpolicy-operator-tls", SYSTEM))
            until(lambda: pod(kube, SYSTEM, "toolpolicy.dev/leader=true"))
            paths = {str(binaries.find(name).parent) for name in ("kubectl", "helm")}
            yield World(
                environment={
                    "KUBECONFIG": str(kube.kubeconfig),
                    "PATH": ":".join([*paths, str(ROOT / ".venv" / "bin"), "/usr/bin", "/bin"]),
                    "EDITOR": "true",
                },
                names={
                    "NS": AGENTS,
                    "NAME": "support-agent",
                    "POD": workload(kube),
                    "DEPLOYMENT": "support-agent",
                    "POLICY.yaml": str(POLICY),
                    "FILE": str(POLICY),
                },
            )
        finally:
            operator.end()


@pytest.mark.timeout(300)  # many small processes
def test_those_of_the_docs(world: World) -> None:
    found = [
        each for each in of_docs() if each.kind in {"cluster", "toolpolicy"} and each.text != installing()
    ]
    assert len(found) > 28
    # What ends the agent's pod or the leader comes last.
    last = [each for each in found if "delete pod" in each.text or "rollout restart" in each.text]
    assert world.failures([each for each in found if each not in last]) == []
    for each in last:
        assert world.failures([each]) == []
        time.sleep(1)  # kubectl restarts a deployment once a second


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: str(path.stem))
def test_those_that_are_made_of_a_policy(world: World, path: Path) -> None:
    """Patches one after the other: each that takes something back finds it there."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    namespace = document["metadata"]["namespace"]
    labels = ",".join(f"{key}={value}" for key, value in document["spec"]["selector"]["matchLabels"].items())
    run = f"kubectl run agent-1 -n {namespace} --image=none --labels={labels},toolpolicy.dev/injected=true"
    prepare = [
        f"kubectl create namespace {namespace} --dry-run=client -o yaml | kubectl apply -f -",
        f"kubectl apply -n {namespace} -f {path}",
        run + """ --overrides='{"spec": {"automountServiceAccountToken": false}}'""",
    ]
    assert world.failures([Command(text, "cluster", "") for text in prepare]) == []
    found = [each for each in of_policy(path) if each.kind == "cluster"]
    assert len(found) > 8
    names = {**world.names, "POLICY.yaml": str(path)}
    patches = [each for each in found if each.text.startswith("kubectl patch")]
    others = [each for each in found if each not in patches]
    assert failures(others, names, world.environment) == []
    # Both of a pair are the same text where a tool is out of use by the policy: each is run where it stands.
    for each in patches:
        assert failures([each], names, world.environment) == []


def test_a_command_that_fails_is_noticed(world: World) -> None:
    assert world.failures([Command("kubectl get toolpolicy nobody -n NS", "cluster", "")])
    assert world.failures([Command("kubectl get nothing -A | cat", "cluster", "")])
