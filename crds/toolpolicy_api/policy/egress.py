"""`spec.egress`: the rest of the network."""

from typing import Annotated, Literal

from pydantic import Field

from toolpolicy_api.policy.model import Model


class Egress(Model):
    """What of the rest of the network may be reached through the sidecar's forward proxy."""

    default: Annotated[
        Literal["Allow", "Deny"],
        Field(
            description="Allow lets requests to hosts that no policy names pass untouched; Deny refuses them. If one"
            " policy of a pod says Deny, that stands."
        ),
    ]
