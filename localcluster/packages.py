"""Debian's packages, installed when they are missing, or only unpacked where one file of them is wanted."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from localcluster import paths
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
    with _alone(), step(f"installing Debian's {', '.join(wanted)}"):
        _apt("update", "-qq")
        _apt("install", "-y", "-qq", *wanted)


def unpacked(package: str) -> Path:
    """The folder that holds the package's files. No service of it is installed or started. Raises Trouble."""
    folder = paths.cache() / "debian" / package
    with _alone():
        if folder.exists():
            return folder
        with step(f"unpacking Debian's {package}"):
            half = folder.with_suffix(".half")
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            try:
                _apt("download", "-qq", package, folder=half)
            except Trouble:
                _apt("update", "-qq")
                _apt("download", "-qq", package, folder=half)
            (archive,) = half.glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", archive, half], check=True)
            archive.unlink()
            half.rename(folder)
    return folder


@contextmanager
def _alone() -> Iterator[None]:
    """apt takes no two of us at once."""
    paths.cache().mkdir(parents=True, exist_ok=True)
    with (paths.cache() / "apt.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _apt(*arguments: str, folder: Path | None = None) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Trouble(f"apt-get {' '.join(arguments)} failed: {done.stderr.strip()[-1000:]}")
