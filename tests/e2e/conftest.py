"""A cluster with toolpolicy and the demo on it. One that was up before is used, and left up."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import localcluster
from localcluster import product
from localcluster.kube import Kube
from tests.e2e.world import World

TIMEOUT_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Images, rollouts and kubelets take longer than a unit test may."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Kube]:
    was_up = localcluster.is_up()
    yield localcluster.up()
    if not was_up and not os.environ.get("TOOLPOLICY_KEEP_CLUSTER"):
        localcluster.down()


@pytest.fixture(scope="session")
def world(cluster: Kube) -> Iterator[World]:
    tag = product.load_images()
    product.install(cluster, tag)
    product.deploy_demo(cluster)
    yield World(cluster, tag)
    product.remove_demo(cluster)
    product.uninstall(cluster)
