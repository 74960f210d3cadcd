"""One webhook process and its namespaces; what it has brought into the API server goes with it."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from tests.integration import own_kind
from tests.integration.webhook.world import (
    INJECTED,
    LOCKED,
    PLAIN,
    SYSTEM,
    Webhook,
    World,
    chart,
    until,
)

ASKS = {"toolpolicy.dev/inject": "enabled"}
NAMESPACES: dict[str, dict[str, str]] = {
    SYSTEM: ASKS,
    INJECTED: ASKS,
    LOCKED: {**ASKS, "pod-security.kubernetes.io/enforce": "restricted"},
    PLAIN: {},
}


@pytest.fixture(scope="package")
def running(control_plane: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("webhook")
    with config.new_client_from_config(str(control_plane)) as api:
        own_kind.serve(api)
        world = World(api, Webhook(folder, _kubeconfig_of_the_webhook(api, control_plane, folder)))
        for name, labels in NAMESPACES.items():
            with contextlib.suppress(client.ApiException):
                world.core.create_namespace({"metadata": {"name": name}})
            world.core.patch_namespace(name, {"metadata": {"labels": labels}})
            until(partial(_has_service_account, world.core, name), f"a ServiceAccount in {name}")
        world.webhook.start()
        world.point(world.webhook.ca)
        yield world
        world.unpoint()
        assert world.webhook.stop() == 0
        world.core.patch_namespace(SYSTEM, {"metadata": {"labels": dict.fromkeys(ASKS)}})
        world.rbac.delete_cluster_role_binding("toolpolicy-webhook")
        world.rbac.delete_cluster_role("toolpolicy-webhook")


@pytest.fixture
def world(running: World) -> Iterator[World]:
    running.clear()
    yield running
    running.clear()


def _has_service_account(core: Any, namespace: str) -> bool:
    try:
        core.read_namespaced_service_account("default", namespace)
    except client.ApiException:
        return False
    return True


def _kubeconfig_of_the_webhook(api: client.ApiClient, admin: Path, folder: Path) -> Path:
    """The rights that the chart gives to the webhook, and no other."""
    core: Any = client.CoreV1Api(api)
    rbac: Any = client.RbacAuthorizationV1Api(api)
    with contextlib.suppress(client.ApiException):
        core.create_namespace({"metadata": {"name": SYSTEM}})
    for document in chart():
        if document["metadata"]["name"] != "toolpolicy-webhook":
            continue
        if document["kind"] == "ServiceAccount":
            with contextlib.suppress(client.ApiException):
                core.create_namespaced_service_account(SYSTEM, document)
        elif document["kind"] == "ClusterRole":
            rbac.create_cluster_role(document)
        elif document["kind"] == "ClusterRoleBinding":
            rbac.create_cluster_role_binding(document)
    token = core.create_namespaced_service_account_token("toolpolicy-webhook", SYSTEM, {"spec": {}})
    found = yaml.safe_load(admin.read_text(encoding="utf-8"))
    found["users"] = [{"name": found["users"][0]["name"], "user": {"token": token.status.token}}]
    path = folder / "webhook.conf"
    path.write_text(yaml.safe_dump(found), encoding="utf-8")
    return path
