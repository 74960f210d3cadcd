"""The commands of runbooks and of docs/operating.md that need a running pod, as they are written, on a real node."""

from pathlib import Path

from localcluster import binaries
from tests.commands import ROOT, failures, of_docs, of_policy
from tests.e2e.world import AGENTS, World


def test_in_real_pods(world: World) -> None:
    world.until_programmed()
    world.call("search_knowledge_base")
    kube = world.kube
    environment = {
        "KUBECONFIG": str(kube.kubeconfig),
        "PATH": ":".join([str(Path(binaries.find("kubectl")).parent), "/usr/bin", "/bin"]),
        "POD": world.agent(),
        "USER": "alice",
    }
    names = {
        "NS": AGENTS,
        "NAME": "agent",
        "POD": world.agent(),
        "TOOL": "search_knowledge_base",
        "SESSION": "none",
    }
    found = [
        each for each in [*of_docs(), *of_policy(ROOT / "examples/demo/policy.yaml")] if each.kind == "node"
    ]
    assert len(found) > 17
    assert failures(found, names, environment) == []
