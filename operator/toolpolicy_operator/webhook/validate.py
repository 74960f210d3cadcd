"""A ToolPolicy in, a verdict out: what neither schema nor CEL rules can say. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from toolpolicy_api.check import Finding, check


class Verdict(NamedTuple):
    findings: tuple[Finding, ...] = ()

    @property
    def allowed(self) -> bool:
        return not self.findings

    @property
    def message(self) -> str:
        return "; ".join(map(str, self.findings))


def validate(request: Mapping[str, Any]) -> Verdict:
    """`request` is the AdmissionReview's. Objects on their way out, and changes of metadata alone, always pass."""
    new, old = request.get("object") or {}, request.get("oldObject") or {}
    if request.get("operation") == "UPDATE":
        leaving = "deletionTimestamp" in (new.get("metadata") or {})
        if leaving or new.get("spec") == old.get("spec"):
            return Verdict()
    return Verdict(tuple(check(new)))
