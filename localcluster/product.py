"""Puts the working tree into a cluster: builds and loads the images, installs the chart, deploys the demo."""

from pathlib import Path

import localcluster
from localcluster.images import Image
from localcluster.kube import Kube
from localcluster.progress import step

ROOT = Path(__file__).parents[1]
RELEASE = "toolpolicy"
NAMESPACE = "toolpolicy-system"
DEMO = ROOT / "examples" / "demo"

PRODUCT_IMAGE = Image(
    tag="toolpolicy:dev",
    context=ROOT,
    dockerfile=ROOT / "Dockerfile",
    inputs=("pyproject.toml", "uv.lock", "README.md", "LICENSE", "crds", "sidecar", "operator"),
)
DEMO_IMAGE = Image(
    tag="toolpolicy-demo:dev",
    context=DEMO,
    dockerfile=DEMO / "Dockerfile",
    inputs=("agent.py", "tool_server.py"),
)
IMAGES = (PRODUCT_IMAGE, DEMO_IMAGE)


def load_images() -> str:
    """Both images, built when they have changed; returns the product's tag."""
    tags = [localcluster.load_image(image) for image in IMAGES]
    return tags[0]


def install(kube: Kube, tag: str, *values: str) -> None:
    """`helm upgrade --install`; `values` are `key=value` as of `--set`. Waits until all is ready."""
    sets = ("image.repository=toolpolicy", f"image.tag={tag}", "image.pullPolicy=IfNotPresent", *values)
    with step("helm upgrade --install toolpolicy"):
        kube.helm(
            "upgrade", "--install", RELEASE, str(ROOT / "charts" / "toolpolicy"),
            "--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "3m",
            *(part for value in sets for part in ("--set-string" if "tag" in value else "--set", value)),
            timeout_s=240,
        )  # fmt: skip


def uninstall(kube: Kube) -> None:
    kube.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "2m")


def deploy_demo(kube: Kube) -> None:
    """The policy goes in before the agents, so that they start with their tools' addresses."""
    for name in ("namespaces", "tools", "policy", "agent"):
        kube.apply((DEMO / f"{name}.yaml").read_text(encoding="utf-8"))
    kube.kubectl("rollout", "status", "deployment/kb", "-n", "demo-tools", "--timeout=120s")
    kube.kubectl("rollout", "status", "deployment/agent", "-n", "demo", "--timeout=120s")


def remove_demo(kube: Kube) -> None:
    kube.kubectl(
        "delete", "-f", str(DEMO / "namespaces.yaml"), "--ignore-not-found", "--wait", "--timeout=120s"
    )
