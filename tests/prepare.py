"""What the tests need of a machine, made once: `python -m tests.prepare`, which `make test` begins with.

A new machine builds Kubernetes and installs agents' libraries for a quarter of an hour; no test has time for that, and
nobody could see how far it is."""

import os
import sys

from localcluster import binaries, images, packages, product, versions
from localcluster.trouble import Trouble
from tests.clients import environment

UNPACKED = ("prometheus", "prometheus-alertmanager")
"""Debian's packages of which the tests run a program."""


def main() -> int:
    try:
        binaries.ensure(versions.BINARIES)
        binaries.sources(*versions.PROMETHEUS_OPERATOR)
        for package in UNPACKED:
            packages.unpacked(package)
        environment.python("sdk1")
        environment.node_modules()
        environment.mcp_sources()
        if not os.environ.get("TOOLPOLICY_KUBE_CONTEXT"):
            packages.ensure((*versions.PACKAGES, *versions.IMAGE_PACKAGES))
            for image in product.IMAGES:
                images.build(image, image.digest())
    except Trouble as trouble:
        print(f"the tests cannot be prepared: {trouble}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
