"""`spec.selector`: which pods."""

from typing import Annotated, Literal

from pydantic import Field

from toolpolicy_api.policy.model import Model

LabelValue = Annotated[str, Field(max_length=63)]


class LabelRequirement(Model):
    """One set-based requirement of a label selector, as in every Kubernetes selector."""

    key: Annotated[str, Field(min_length=1, max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[list[LabelValue], Field(max_length=64)] = []


class Selector(Model):
    """Which injected pods of the policy's namespace it is for. Empty: all of them."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=32)] = []
