"""The sidecar as it ships: with the interpreter and the libraries of its image, but without a container around it."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from localcluster import images, packages, versions
from localcluster.buildah import buildah
from localcluster.product import PRODUCT_IMAGE


@contextmanager
def program() -> Iterator[list[str]]:
    """The command, which sees this machine's temporary files. Builds the image if it is not there. Raises Trouble."""
    packages.ensure(versions.IMAGE_PACKAGES)
    archive = images.build(PRODUCT_IMAGE, PRODUCT_IMAGE.digest())
    with ExitStack() as stack:
        container = buildah("from", f"docker-archive:{archive}").strip()
        stack.callback(buildah, "rm", container)
        root = Path(buildah("mount", container).strip())
        stack.callback(buildah, "umount", container)
        for shared in (Path("/dev"), Path("/proc"), Path(tempfile.gettempdir())):
            place = root / shared.relative_to("/")
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "--bind", shared, place], check=True)
            stack.callback(partial(subprocess.run, ["umount", place], check=True))
        yield ["chroot", str(root), "/opt/toolpolicy/bin/toolpolicy"]
