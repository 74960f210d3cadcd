"""What can be wrong with a policy, and how it is said."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from toolpolicy_api.duration import PATTERN as DURATION_PATTERN


class Finding(NamedTuple):
    """One thing that is wrong: the field as `spec.tools[0].timeout.total`, and what to do about it."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Invalid(ValueError):  # noqa: N818 -- a verdict on a policy, not a failure of the program
    """A ToolPolicy that will not be enforced. `findings` is never empty."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings = findings


def schema_finding(detail: Mapping[str, Any]) -> Finding:
    """One of pydantic's errors in our words."""
    field = _path(detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            return Finding(field, "unknown field; remove it or correct its name")
        case "missing":
            return Finding(field, "required; add it")
        case "string_pattern_mismatch" if detail["ctx"]["pattern"] == DURATION_PATTERN:
            return Finding(field, f"{detail['input']!r} is no duration; write it like 500ms, 8s or 1h30m")
        case _:
            return Finding(field, detail["msg"][0].lower() + detail["msg"][1:])


def _path(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "(document)"
