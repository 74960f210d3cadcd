"""A whole policy."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from toolpolicy_api.policy.egress import Egress
from toolpolicy_api.policy.model import Model, cel, list_map
from toolpolicy_api.policy.redaction import Redaction
from toolpolicy_api.policy.selector import Selector
from toolpolicy_api.policy.server import Server
from toolpolicy_api.policy.slo import SLO_TOOLS
from toolpolicy_api.policy.tool import Rules, Tool


class Spec(Model):
    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                f"!has(self.tools) || self.tools.filter(t, has(t.slo)).size() <= {SLO_TOOLS}",
                f"at most {SLO_TOOLS} tools of a policy can have an slo",
            ),
            (
                "!has(self.tools) || self.tools.all(t, self.servers.exists(s, s.name == t.server))",
                "every tool's server must be one of spec.servers",
            ),
        )
    )

    selector: Annotated[Selector, Field(description="Which injected pods of this namespace. {} is all.")]
    mode: Annotated[
        Literal["Enforce", "Shadow", "Off"],
        Field(
            description="Enforce applies the rules. Shadow decides, counts, and lets every call pass untouched. "
            "Off lets them pass without looking."
        ),
    ] = "Enforce"
    servers: Annotated[list[Server], Field(min_length=1, max_length=64, json_schema_extra=list_map("name"))]
    defaults: Annotated[
        Rules | None,
        Field(description="For every tool that says nothing else, and for tools that are not listed."),
    ] = None
    tools: Annotated[list[Tool], Field(max_length=256, json_schema_extra=list_map("name"))] = []
    redaction: Redaction | None = None
    egress: Annotated[
        Egress | None,
        Field(description="For what the agent sends through the forward proxy. Default Allow."),
    ] = None


class Metadata(BaseModel):
    """What is needed of an object's metadata; everything else is ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    creation_timestamp: str = ""


class ToolPolicy(Model):
    """A whole object, as the API server stores it. `status` is not read: it is ours to write."""

    model_config = ConfigDict(extra="ignore")

    api_version: Literal["toolpolicy.dev/v1alpha1"]
    kind: Literal["ToolPolicy"]
    metadata: Metadata
    spec: Spec
