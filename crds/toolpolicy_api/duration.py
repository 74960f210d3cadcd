"""Durations as Kubernetes' Gateway API writes them (GEP-2257): `1h30m`, `8s`, `500ms`."""

import re
from typing import Annotated

from pydantic import Field

# GEP-2257: up to four number-unit pairs, at most five digits each, no sign, no fraction.
PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"

_PART = re.compile(r"([0-9]{1,5})(h|ms|m|s)")
_UNIT_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_POSITIVE = [
    {"rule": "duration(self) > duration('0s')", "message": "must be longer than zero, such as 500ms or 8s"}
]

Duration = Annotated[
    str,
    Field(pattern=PATTERN, max_length=32, json_schema_extra={"x-kubernetes-validations": _POSITIVE}),
]


def milliseconds(text: str) -> int:
    """`1m30s` → 90000. Raises ValueError for anything that is not a GEP-2257 duration."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text!r} is no duration; write it like 500ms, 8s or 1h30m")
    return sum(int(number) * _UNIT_MS[unit] for number, unit in _PART.findall(text))


def render(ms: int) -> str:
    """90000 → `1m30s`: the shortest GEP-2257 form of a whole number of milliseconds."""
    parts = []
    for unit, size in _UNIT_MS.items():
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0ms"
