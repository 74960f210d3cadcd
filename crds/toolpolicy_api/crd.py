"""The CustomResourceDefinition, generated from the pydantic models.

Run `toolpolicy crd` to print it. Pydantic's JSON schema becomes a structural schema: references
inlined and `anyOf [X, null]` collapsed.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from toolpolicy_api import policy
from toolpolicy_api.status import Status


def structural(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema (Kubernetes' subset of OpenAPI v3) of a pydantic JSON schema."""
    return _node(schema, schema.get("$defs", {}))


def _node(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    node = _without_null(_resolved(node, definitions), definitions)
    out: dict[str, Any] = {}
    for key, value in node.items():
        match key:
            case "title" | "$defs":
                continue
            case "default" if value in (None, {}, []):
                continue
            case "additionalProperties" if value is False:
                continue
            case "additionalProperties":
                out[key] = _node(value, definitions)
            case "properties":
                out[key] = {name: _node(child, definitions) for name, child in value.items()}
            case "items":
                out[key] = _node(value, definitions)
            case "const":
                out["enum"] = [value]
            case "description":
                out[key] = " ".join(value.split())
            case _:
                out[key] = value
    if "enum" in out:
        out.setdefault("type", "string")
    if out.get("type") == "object" and "additionalProperties" in out and "maxLength" in out:
        out["maxProperties"] = out.pop("maxLength")
    return out


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return dict(node)
    target = definitions[node["$ref"].rsplit("/", 1)[1]]
    return {**_resolved(target, definitions), **{k: v for k, v in node.items() if k != "$ref"}}


def _without_null(node: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """`anyOf [X, null]` is how pydantic says optional; in a CRD a field is optional by not being required."""
    if "anyOf" not in node:
        return node
    (only,) = (branch for branch in node["anyOf"] if branch.get("type") != "null")
    return {**_resolved(only, definitions), **{k: v for k, v in node.items() if k != "anyOf"}}


def _column(name: str, path: str, kind: str, description: str, *, wide: bool = False) -> dict[str, Any]:
    column = {"name": name, "jsonPath": path, "type": kind, "description": description}
    return {**column, "priority": 1} if wide else column


COLUMNS = [
    _column("Mode", ".spec.mode", "string", "Enforce, Shadow or Off."),
    _column("Ready", ".status.ready", "string", "Pods that enforce this very policy / pods it matches."),
    _column("Open", ".status.open", "string", "Tools whose circuit is not closed (pods)."),
    _column("Calls", ".status.calls", "integer", "Calls in the last five minutes."),
    _column("Err%", ".status.errorPercent", "string", "Share of them that failed or were refused."),
    _column("Seen", ".status.observedTime", "date", "When this row was last written."),
    _column("Age", ".metadata.creationTimestamp", "date", "Since creation."),
    _column(
        "Programmed",
        '.status.conditions[?(@.type=="Programmed")].message',
        "string",
        "How many pods enforce which hash.",
        wide=True,
    ),
    _column(
        "Budget",
        ".status.budget",
        "string",
        "Tool with the least error budget: what is left, and the burn rate of the last hour.",
        wide=True,
    ),
    _column(
        "Redacted",
        ".status.redaction.total",
        "integer",
        "Texts that redaction took out in the last five minutes.",
        wide=True,
    ),
    _column("Reason", ".status.reason", "string", "The most urgent thing to know.", wide=True),
]


def definition() -> dict[str, Any]:
    """The whole CustomResourceDefinition object."""
    spec = structural(policy.Spec.model_json_schema(by_alias=True))
    status = structural(Status.model_json_schema(by_alias=True))
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{policy.PLURAL}.{policy.GROUP}"},
        "spec": {
            "group": policy.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": policy.KIND,
                "listKind": f"{policy.KIND}List",
                "plural": policy.PLURAL,
                "singular": policy.KIND.lower(),
                "shortNames": ["tp"],
                "categories": ["toolpolicy"],
            },
            "versions": [
                {
                    "name": policy.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": COLUMNS,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": "How the tool calls of a namespace's agents are handled.",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": spec,
                                "status": status,
                            },
                        }
                    },
                }
            ],
        },
    }


class _Plain(yaml.SafeDumper):
    """Shared lists are written out each time: anchors are no help to a reader of a CRD."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- the signature is PyYAML's
        return True


def text() -> str:
    """The definition as YAML, as it stands in `crds/toolpolicies.yaml`."""
    head = "# Generated by `toolpolicy crd` from crds/toolpolicy_api/policy and status.py. Do not edit.\n"
    return head + yaml.dump(definition(), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
