"""The objectives of a policy's tools, as the operator reckons with them. No sidecar needs to know them."""

from collections.abc import Mapping
from typing import NamedTuple

from toolpolicy_api import policy as written
from toolpolicy_api.channel import ToolKey
from toolpolicy_api.duration import milliseconds

DAY_S = 86_400
P95_MAY_MISS = 0.05


class Slo(NamedTuple):
    """`availability` in percent of calls; `p95_ms` is one of channel.LATENCY_BOUNDS_MS. One of both may be None."""

    availability: float | None
    p95_ms: int | None
    window_s: int

    @property
    def may_fail(self) -> float | None:
        """Share of calls; None: any."""
        # Rounded: 100 - 99.9 has an end like 0.09999999999999432.
        return None if self.availability is None else round((100 - self.availability) / 100, 9)


def slos_of(policy: written.ToolPolicy) -> Mapping[ToolKey, Slo]:
    """Expects a policy that passed `check.check`."""
    key = f"{policy.metadata.namespace}/{policy.metadata.name}"
    return {
        ToolKey(key, tool.server, tool.name): Slo(
            availability=tool.slo.availability,
            p95_ms=milliseconds(tool.slo.latency.p95) if tool.slo.latency else None,
            window_s=int(tool.slo.window.removesuffix("d")) * DAY_S,
        )
        for tool in policy.spec.tools
        if tool.slo
    }
