"""A real API server without a node, for the whole session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import localcluster


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Path]:
    """Its kubeconfig."""
    with localcluster.control_plane() as kube:
        yield kube.kubeconfig
