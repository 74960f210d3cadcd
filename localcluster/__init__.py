"""A real Kubernetes on one machine, from processes: for the demo, the tests, and looking around.

    python3 -m localcluster up

It touches only the cluster that it has started itself. With TOOLPOLICY_KUBE_CONTEXT set to the name of a
context of your own kubeconfig, that cluster is used instead, and images are loaded by
TOOLPOLICY_IMAGE_LOADER (default `kind load docker-image`).
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from localcluster import binaries, images, packages, versions
from localcluster.control_plane import control_plane
from localcluster.images import Image
from localcluster.kube import Kube
from localcluster.node import Node
from localcluster.progress import step
from localcluster.teardown import down as _down
from localcluster.trouble import Trouble

__all__ = ["Image", "Kube", "Trouble", "control_plane", "down", "is_up", "load_image", "up"]


def up() -> Kube:
    """The local cluster, started when it is not running; or the one that TOOLPOLICY_KUBE_CONTEXT names."""
    theirs = _theirs()
    if theirs:
        return theirs
    node = Node()
    if node.healthy():
        return node.kube()
    _require_linux_root()
    packages.ensure((*versions.PACKAGES, *versions.IMAGE_PACKAGES))
    binaries.ensure((*versions.NODE, *versions.CLIENTS))
    _down(node)  # what an interrupted start or a reboot has left
    return node.up()


def is_up() -> bool:
    return _theirs() is not None or Node().healthy()


def down() -> None:
    """Ends the local cluster. A cluster that we did not start is never touched."""
    if Node().folder.exists():
        _require_linux_root()
        _down(Node())


def load_image(image: Image) -> str:
    """Makes the image known to the cluster's nodes, built anew only when its content has changed; returns its tag."""
    if _theirs() is None:
        return images.load(Node(), image)
    loader = os.environ.get("TOOLPOLICY_IMAGE_LOADER", "kind load docker-image")
    with step(f"building and loading {image.tag} with docker and `{loader}`"):
        for command in (
            ["docker", "build", "-f", str(image.dockerfile), "-t", image.tag, str(image.context)],
            [*shlex.split(loader), image.tag],
        ):
            subprocess.run(command, check=True)
    return image.tag.partition(":")[2]


def _theirs() -> Kube | None:
    context = os.environ.get("TOOLPOLICY_KUBE_CONTEXT")
    if not context:
        return None
    config = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return Kube(Path(config), context, str(binaries.find("kubectl")), str(binaries.find("helm")))


def _require_linux_root() -> None:
    if sys.platform != "linux":
        raise Trouble(
            "a node needs Linux; set TOOLPOLICY_KUBE_CONTEXT to use a cluster of your own, such as kind"
        )
    if os.geteuid() != 0:
        raise Trouble(
            "a node needs root; or set TOOLPOLICY_KUBE_CONTEXT to use a cluster of your own, such as kind"
        )
