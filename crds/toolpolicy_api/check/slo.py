"""What calls should be like."""

from collections.abc import Iterator

from toolpolicy_api import policy as written
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.duration import milliseconds, render


def check_slo(slo: written.Slo, field: str) -> Iterator[Finding]:
    if slo.availability is None and slo.latency is None:
        yield Finding(field, "set availability, latency or both")
    if slo.latency and render(milliseconds(slo.latency.p95)) not in written.LATENCY_TARGETS:
        yield Finding(f"{field}.latency.p95", f"must be one of {', '.join(written.LATENCY_TARGETS)}")
