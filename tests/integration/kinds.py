"""CustomResourceDefinitions in the API server that several modules' tests share."""

import time
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

CRD = Path(__file__).parents[2] / "crds" / "toolpolicies.yaml"
_PATIENCE_S = 60.0


def serve(api: client.ApiClient, crd: dict[str, Any]) -> None:
    """Returns when its objects can be created. One of that name may be there already, or on its way out; and what the
    API server has established, it may answer with 404 for a moment more."""
    extensions: Any = client.ApiextensionsV1Api(api)
    spec = crd["spec"]
    kind = (spec["group"], spec["versions"][0]["name"], spec["names"]["plural"])
    objects = client.CustomObjectsApi(api)
    ends = time.monotonic() + _PATIENCE_S
    while not (_there(extensions, crd) and _listed(objects, kind)):
        assert time.monotonic() < ends, f"{crd['metadata']['name']} is not served"
        time.sleep(0.1)


def serve_policies(api: client.ApiClient) -> None:
    serve(api, yaml.safe_load(CRD.read_text("utf-8")))


def _there(extensions: Any, crd: dict[str, Any]) -> bool:
    try:
        extensions.create_custom_resource_definition(crd)
    except client.ApiException as error:
        if error.status != 409:
            raise
    try:
        found = extensions.read_custom_resource_definition(crd["metadata"]["name"])
    except client.ApiException as error:
        if error.status != 404:
            raise
        return False
    return found.metadata.deletion_timestamp is None


def _listed(objects: client.CustomObjectsApi, kind: tuple[str, str, str]) -> bool:
    try:
        objects.list_cluster_custom_object(*kind, limit=1)
    except client.ApiException as error:
        if error.status != 404:
            raise
        return False
    return True
