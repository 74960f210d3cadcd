"""The durable form of the configuration: one ConfigMap in each namespace that asks for sidecars."""

from typing import Any

from toolpolicy_api import snapshot
from toolpolicy_operator.api import Api, ApiError, core

NAME = "toolpolicy-bootstrap"
LABELS = {"app.kubernetes.io/managed-by": "toolpolicy"}


def config_map(
    namespace: str, policies: snapshot.Bootstrap, ca: str, owner: dict[str, str] | None
) -> dict[str, Any]:
    """`owner`: the release's ClusterRole, so that garbage collection removes this on uninstall."""
    metadata: dict[str, Any] = {"name": NAME, "namespace": namespace, "labels": LABELS}
    if owner:
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"policies.json": snapshot.encode(policies).decode(), "ca.crt": ca},
    }


async def write(api: Api, body: dict[str, Any]) -> None:
    await api.apply(core("configmaps", NAME, body["metadata"]["namespace"]), body)


async def remove(api: Api, namespace: str) -> None:
    try:
        await api.delete(core("configmaps", NAME, namespace))
    except ApiError as error:
        if error.status != 404:
            raise


async def namespaces(api: Api) -> set[str]:
    """Where one of ours is. The field selector is what RBAC allows: this name and no other ConfigMap."""
    found = await api.list(core("configmaps"), metadata_only=True, fieldSelector=f"metadata.name={NAME}")
    managed = LABELS.items()
    return {
        item["metadata"]["namespace"]
        for item in found
        if managed <= (item["metadata"].get("labels") or {}).items()
    }


async def read(api: Api, namespace: str) -> snapshot.Bootstrap:
    """What was written last, empty when there is none that can be read. Raises ApiError."""
    try:
        data = (await api.get(core("configmaps", NAME, namespace))).get("data") or {}
        return snapshot.decode_bootstrap(data.get("policies.json", "").encode())
    except ValueError:
        return snapshot.Bootstrap()
    except ApiError as error:
        if error.status == 404:
            return snapshot.Bootstrap()
        raise
