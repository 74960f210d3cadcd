"""Container images without a registry: built by buildah, cached by content, loaded into the node."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from localcluster import packages, paths, versions
from localcluster.buildah import buildah, run, save
from localcluster.node import Node
from localcluster.progress import step

ARCHIVES_KEPT = 3


class Image(NamedTuple):
    """What an image is built from. `inputs`: paths below `context` whose content decides on a rebuild."""

    tag: str
    context: Path
    dockerfile: Path
    inputs: tuple[str, ...]

    def digest(self) -> str:
        """Changes when the Dockerfile, an input, or the base does."""
        total = hashlib.sha256(f"{versions.BASE_IMAGE}\n".encode() + self.dockerfile.read_bytes())
        for file in self._files():
            total.update(f"{file.relative_to(self.context)}\n".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
        return total.hexdigest()[:16]

    def _files(self) -> Iterator[Path]:
        for name in self.inputs:
            top = self.context / name
            found = [top] if top.is_file() else sorted(top.rglob("*"))
            yield from (f for f in found if f.is_file() and "__pycache__" not in f.parts)


def load(node: Node, image: Image) -> str:
    """Builds the image when its content is new, loads it into the node when that lacks it; returns its tag there."""
    digest = image.digest()
    marks = node.folder / "images.json"
    loaded = json.loads(marks.read_text()) if marks.exists() else {}
    if loaded.get(image.tag) == digest:
        return digest
    archive = build(image, digest)
    with step(f"loading {image.tag} into the node"):
        node.ctr("images", "import", str(archive))
        name = f"docker.io/library/{image.tag}"
        node.ctr("images", "tag", "--force", name, f"{name.rpartition(':')[0]}:{digest}")
    marks.write_text(json.dumps({**loaded, image.tag: digest}))
    return digest


def build(image: Image, digest: str) -> Path:
    """The image as an archive, from the cache when it was built before."""
    name = image.tag.replace("/", "_").replace(":", "_")
    folder = paths.cache() / "images" / name
    archive = folder / f"{digest}.tar"
    if archive.exists():
        return archive
    packages.ensure(versions.IMAGE_PACKAGES)
    base()
    with step(f"building the image {image.tag}"):
        buildah(
            "bud", "--isolation", "chroot", "--network", "host", "--layers", "--pull-never",
            *_machine_trust(), "-f", str(image.dockerfile), "-t", image.tag, str(image.context),
        )  # fmt: skip
        save(image.tag, archive)
    for old in sorted(folder.glob("*.tar"), key=lambda path: path.stat().st_mtime)[:-ARCHIVES_KEPT]:
        old.unlink()
    return archive


def base() -> None:
    """Debian's slim base under its name on Docker Hub, made by debootstrap where buildah does not have it."""
    name = versions.BASE_IMAGE
    if (
        subprocess.run(
            ["buildah", "inspect", "--type", "image", name], capture_output=True, check=False
        ).returncode
        == 0
    ):
        return
    tree = paths.cache() / f"base-{versions.DEBIAN}"
    archive = paths.cache() / "images" / f"base-{versions.DEBIAN}.tar"
    with step(f"making the base image {name}"):
        if not archive.exists():
            shutil.rmtree(tree, ignore_errors=True)
            run("debootstrap", "--variant=minbase", "--include=ca-certificates", versions.DEBIAN, str(tree))
            for heavy in ("var/cache/apt/archives", "usr/share/doc", "usr/share/locale", "usr/share/man"):
                shutil.rmtree(tree / heavy, ignore_errors=True)
            (tree / "var/cache/apt/archives/partial").mkdir(parents=True, exist_ok=True)
            updates = f"deb http://deb.debian.org/debian {versions.DEBIAN}-updates main\n"
            security = f"deb http://deb.debian.org/debian-security {versions.DEBIAN}-security main\n"
            with (tree / "etc/apt/sources.list").open("a") as sources:
                sources.write(updates + security)
            archive.parent.mkdir(parents=True, exist_ok=True)
            run("tar", "-C", str(tree), "-cf", str(archive.with_suffix(".half")), ".")
            archive.with_suffix(".half").rename(archive)
            shutil.rmtree(tree)
        container = buildah("from", "scratch").strip()
        try:
            buildah("add", "-q", container, str(archive), "/")
            buildah("config", "--cmd", "/bin/bash", container)
            buildah("commit", "-q", container, name)
        finally:
            buildah("rm", container)


def _machine_trust() -> list[str]:
    """Behind an intercepting proxy pip must trust the machine's roots: lent to the build, not kept."""
    bundle = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    if not bundle or not Path(bundle).exists():
        return []
    inside = "/run/machine-roots.crt"
    names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    return [
        "-v",
        f"{Path(bundle).resolve()}:{inside}:ro",
        *(part for n in names for part in ("--build-arg", f"{n}={inside}")),
    ]
