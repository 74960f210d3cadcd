"""Pods without a sidecar, as a real API server lists them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.config import kube_config

from localcluster.ports import free_port
from tests.corpus.policies import GOOD
from tests.integration.test_operator import Cluster
from toolpolicy_operator.api import Api, ApiError, core
from toolpolicy_operator.index import INJECT_LABEL, INJECTED_LABEL, Index
from toolpolicy_operator.slo.store import LIMIT_BYTES, NAME
from toolpolicy_operator.uncovered import Uncovered

pytestmark = pytest.mark.integration
WATCHED, OTHER = "uncovered", "not-labelled"


@pytest.fixture(scope="module")
def cluster(control_plane: Path) -> Iterator[Cluster]:
    made = Cluster(control_plane)
    for name in (WATCHED, OTHER):
        made.core.create_namespace({"metadata": {"name": name}})
    yield made
    for name in (WATCHED, OTHER):
        made.core.delete_namespace(name)
    made.close()


def at(kubeconfig: Path, patch: pytest.MonkeyPatch) -> Api:
    patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))  # read once, at its import
    return Api()


def away(kubeconfig: Path, folder: Path) -> Path:
    """A kubeconfig of the same cluster, but nobody is at its address."""
    document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
    (folder / "config").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder / "config"


@pytest.fixture
def api(control_plane: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    made = at(control_plane, monkeypatch)
    yield made
    made._client.close()
    made.close()


def index() -> Index:
    made = Index()
    made.put_namespace(
        {
            "metadata": {
                "name": WATCHED,
                "uid": "n",
                "resourceVersion": "1",
                "labels": {INJECT_LABEL: "enabled"},
            }
        }
    )
    for app in ("agent", "shop"):
        metadata = {"name": app, "namespace": WATCHED, "uid": app, "generation": 1, "resourceVersion": "1"}
        spec = GOOD["spec"] | {"selector": {"matchLabels": {"app": app}}}
        made.put_policy(GOOD | {"metadata": metadata, "spec": spec})
    return made


def pod(
    cluster: Cluster, name: str, labels: dict[str, str], namespace: str = WATCHED, **metadata: Any
) -> None:
    with contextlib.suppress(client.ApiException):
        cluster.core.create_namespaced_service_account(namespace, {"metadata": {"name": "default"}})
    spec = {"containers": [{"name": "c", "image": "x"}]}
    body = {"metadata": {"name": name, "labels": labels, **metadata}, "spec": spec}
    cluster.core.create_namespaced_pod(namespace, body)


async def test_only_pods_that_should_have_one_and_have_none_count(cluster: Cluster, api: Api) -> None:
    agent = {"app": "agent"}
    pod(cluster, "before-the-label", agent)
    pod(cluster, "another", agent)
    pod(cluster, "covered", agent | {INJECTED_LABEL: "true"})
    pod(cluster, "opted-out", agent | {INJECT_LABEL: "disabled"})
    pod(cluster, "of-nobody", {"app": "database"})
    pod(cluster, "elsewhere", agent, OTHER)
    for phase in ("Succeeded", "Failed"):
        pod(cluster, phase.lower(), agent)
        cluster.core.patch_namespaced_pod_status(phase.lower(), WATCHED, {"status": {"phase": phase}})
    uncovered = Uncovered(api, index())
    await uncovered.look()
    assert uncovered.pods == {f"{WATCHED}/agent": 2, f"{WATCHED}/shop": 0}

    cluster.core.delete_namespaced_pod("another", WATCHED, grace_period_seconds=0)
    await uncovered.look()
    assert uncovered.pods == {f"{WATCHED}/agent": 1, f"{WATCHED}/shop": 0}


async def test_what_was_known_stays_when_the_api_server_does_not_answer(
    control_plane: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    api = at(away(control_plane, tmp_path), monkeypatch)
    uncovered = Uncovered(api, index())
    uncovered.pods = {f"{WATCHED}/agent": 2}
    with pytest.raises(ApiError):
        await uncovered.look()
    assert uncovered.pods == {f"{WATCHED}/agent": 2}
    api.close()


async def test_a_config_map_of_budgets_may_be_as_large_as_we_make_it(cluster: Cluster, api: Api) -> None:
    def book(size_bytes: int) -> dict[str, Any]:
        metadata = {"name": NAME, "namespace": WATCHED}
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"a": "x" * size_bytes},
        }

    await api.apply(core("configmaps", NAME, WATCHED), book(LIMIT_BYTES))
    with pytest.raises(ApiError) as refused:
        await api.apply(core("configmaps", NAME, WATCHED), book(LIMIT_BYTES * 2))
    assert refused.value.status in {413, 422}
