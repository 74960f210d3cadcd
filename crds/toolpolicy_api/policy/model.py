"""What the models of all sections share: how they look on the wire, markers for the CRD, and types of fields."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from toolpolicy_api import duration

GROUP = "toolpolicy.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ToolPolicy"
PLURAL = "toolpolicies"


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """Schema marker: CEL rules `(rule, message)` that the API server checks."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def list_map(key: str) -> dict[str, Any]:
    """Schema marker: a list whose items are told apart by one field, so that two may not share it."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


class Model(BaseModel):
    """camelCase on the wire, snake_case in code, unknown fields refused."""

    # Sections are read as parts of a policy, and have no validator of their own unless somebody asks for it.
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, defer_build=True
    )


Duration = Annotated[
    str,
    Field(
        pattern=duration.PATTERN,
        max_length=24,
        json_schema_extra=cel(("duration(self) > duration('0s')", "must be longer than zero")),
    ),
]


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40)]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]*$", min_length=1, max_length=128)]
