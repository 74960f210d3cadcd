"""CustomResourceDefinitions that others bring into a cluster."""

from typing import Any

import yaml

from localcluster import binaries
from localcluster.versions import PROMETHEUS_OPERATOR

MONITORING = "monitoring.coreos.com"


def of_prometheus(plural: str) -> dict[str, Any]:
    """As the Prometheus operator defines it. Raises Trouble."""
    folder = binaries.sources(*PROMETHEUS_OPERATOR) / "example" / "prometheus-operator-crd"
    found: dict[str, Any] = yaml.safe_load((folder / f"{MONITORING}_{plural}.yaml").read_text("utf-8"))
    return found


def that_asks_nothing(group: str, version: str, name: str) -> dict[str, Any]:
    plural = f"{name.lower()}s"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": name, "plural": plural},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }
