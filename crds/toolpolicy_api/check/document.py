"""A whole object, as it was written."""

from typing import Any

from pydantic import ValidationError

from toolpolicy_api import policy as written
from toolpolicy_api.check.finding import Finding, Invalid, schema_finding
from toolpolicy_api.check.spec import findings_in


def check(document: Any) -> list[Finding]:
    """Every finding of a whole object (parsed JSON or YAML), empty when there is none."""
    try:
        parse(document)
    except Invalid as invalid:
        return invalid.findings
    return []


def parse(document: Any) -> written.ToolPolicy:
    """The typed policy. Raises Invalid."""
    try:
        policy = written.ToolPolicy.model_validate(document)
    except ValidationError as error:
        raise Invalid([schema_finding(detail) for detail in error.errors()]) from None
    findings = list(findings_in(policy.spec))
    if findings:
        raise Invalid(findings)
    return policy
