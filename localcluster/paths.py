"""Where things are kept: what is costly to make outside the repository, what lives with the cluster apart."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]


def cache() -> Path:
    """Binaries, base image and image archives. Safe to delete at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "toolpolicy"


def state() -> Path:
    """The running cluster. Short, because Unix sockets below it may not exceed 107 bytes."""
    return Path(os.environ.get("TOOLPOLICY_CLUSTER_STATE", "/var/lib/toolpolicy-local"))
