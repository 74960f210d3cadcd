"""Puts the working tree into a cluster: builds and loads the images, installs the chart, deploys the demo."""

from pathlib import Path

from localcluster.images import Image
from localcluster.kube import Kube

ROOT = Path(__file__).parents[1]
RELEASE = "toolpolicy"
NAMESPACE = "toolpolicy-system"
DEMO = ROOT / "examples" / "demo"

IMAGES = (
    Image(
        tag="toolpolicy:dev",
        context=ROOT,
        dockerfile=ROOT / "Dockerfile",
        inputs=("pyproject.toml", "uv.lock", "README.md", "LICENSE", "crds", "sidecar", "operator"),
    ),
    Image(
        tag="toolpolicy-demo:dev",
        context=DEMO,
        dockerfile=DEMO / "Dockerfile",
        inputs=("agent.py", "tool_server.py"),
    ),
)


def install(kube: Kube, *values: str) -> None:
    """`helm upgrade --install`; `values` are `key=value` as of `--set`. Waits until all is ready."""
    sets = ("image.repository=toolpolicy", "image.tag=dev", "image.pullPolicy=IfNotPresent", *values)
    kube.helm(
        "upgrade",
        "--install",
        RELEASE,
        str(ROOT / "charts" / "toolpolicy"),
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--wait",
        "--timeout",
        "3m",
        *(part for value in sets for part in ("--set", value)),
        timeout_s=240,
    )


def uninstall(kube: Kube) -> None:
    kube.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "2m")


def deploy_demo(kube: Kube) -> None:
    """The policy goes in before the agents, so that they start with their tools' addresses."""
    for name in ("namespaces", "tools", "policy", "agent"):
        kube.kubectl("apply", "-f", str(DEMO / f"{name}.yaml"))
    kube.kubectl("rollout", "status", "deployment/kb", "-n", "demo-tools", "--timeout=120s")
    kube.kubectl("rollout", "status", "deployment/agent", "-n", "demo", "--timeout=120s")


def remove_demo(kube: Kube) -> None:
    kube.kubectl(
        "delete", "-f", str(DEMO / "namespaces.yaml"), "--ignore-not-found", "--wait", "--timeout=120s"
    )
