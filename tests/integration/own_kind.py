"""ToolPolicy, in an API server that may not have it yet."""

import time
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

CRD = Path(__file__).parents[2] / "crds" / "toolpolicies.yaml"
WITHIN_S = 30


def serve(api: client.ApiClient) -> None:
    """Once it is established, the API server takes another moment to answer under its address."""
    extensions: Any = client.ApiextensionsV1Api(api)
    objects = client.CustomObjectsApi(api)
    try:
        extensions.create_custom_resource_definition(yaml.safe_load(CRD.read_text(encoding="utf-8")))
    except client.ApiException as error:
        if error.status != 409:
            raise
    ends = time.monotonic() + WITHIN_S
    while True:
        try:
            objects.list_cluster_custom_object("toolpolicy.dev", "v1alpha1", "toolpolicies")
        except client.ApiException:
            assert time.monotonic() < ends, "the CRD is not served"
            time.sleep(0.1)
        else:
            return
