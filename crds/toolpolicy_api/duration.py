"""Durations as Kubernetes' Gateway API writes them (GEP-2257): `1h30m`, `8s`, `500ms`."""

import re

PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
"""GEP-2257: up to four number-unit pairs, at most five digits each, no sign, no fraction."""

_PART = re.compile(r"([0-9]{1,5})(h|ms|m|s)")
_UNIT_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


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
