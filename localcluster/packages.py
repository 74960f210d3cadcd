"""Debian's packages, installed when they are missing."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from localcluster.progress import step
from localcluster.trouble import Trouble


def missing(packages: Sequence[str]) -> list[str]:
    """Those that dpkg does not know as installed."""
    if not shutil.which("dpkg-query"):
        raise Trouble(
            "the local cluster needs Debian (no dpkg here); point TOOLPOLICY_KUBE_CONTEXT at a cluster"
        )
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    installed = {line.split()[0] for line in found.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def ensure(packages: Sequence[str]) -> None:
    """Raises Trouble when packages are missing and we are not root."""
    wanted = missing(packages)
    if not wanted:
        return
    if os.geteuid() != 0:
        raise Trouble(f"missing Debian packages; as root: apt-get install {' '.join(wanted)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing Debian's {', '.join(wanted)}"):
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *wanted]):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Trouble(f"{' '.join(command)} failed: {done.stderr.strip()[-1000:]}")
