"""buildah: images built and saved as archives, without an engine and without a registry."""

import subprocess
from pathlib import Path

from localcluster.trouble import Trouble


def save(tag: str, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    half = archive.with_suffix(".half")
    half.unlink(missing_ok=True)
    full = tag if "/" in tag else f"docker.io/library/{tag}"
    source = tag if "/" in tag else f"localhost/{tag}"
    buildah("push", "-q", source, f"docker-archive:{half}:{full}")
    half.rename(archive)


def buildah(*arguments: str) -> str:
    return run("buildah", *arguments)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Trouble(f"{' '.join(command[:3])} … failed:\n{(done.stdout + done.stderr).strip()[-2500:]}")
    return done.stdout
