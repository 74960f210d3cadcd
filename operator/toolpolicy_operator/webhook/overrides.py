"""What a pod's annotations may change in its sidecar: log level, CPU and memory. Pure.

A wrong value costs a warning, never the pod: the API server would refuse the whole pod for it.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from kubernetes.utils.quantity import parse_quantity

from toolpolicy_operator.webhook.sidecar import LOG_LEVELS, Sidecar

LOG_LEVEL = "toolpolicy.dev/log-level"
RESOURCES = {
    "toolpolicy.dev/cpu-request": ("requests", "cpu"),
    "toolpolicy.dev/cpu-limit": ("limits", "cpu"),
    "toolpolicy.dev/memory-request": ("requests", "memory"),
    "toolpolicy.dev/memory-limit": ("limits", "memory"),
}
KNOWN = (LOG_LEVEL, *RESOURCES)
LEAST_MEMORY_BYTES = 32 * 1024 * 1024
"""With less it would not start; `128` without a unit is 128 bytes."""
_QUANTITY = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


class Overridden(NamedTuple):
    sidecar: Sidecar
    warnings: tuple[str, ...] = ()


def override(sidecar: Sidecar, annotations: Mapping[str, str]) -> Overridden:
    warnings: list[str] = []
    level = annotations.get(LOG_LEVEL, sidecar.log_level)
    if level not in LOG_LEVELS:
        warnings.append(_ignored(LOG_LEVEL, level, f"is none of {', '.join(LOG_LEVELS)}"))
        level = sidecar.log_level
    resources: dict[str, dict[str, Any]] = {kind: dict(of) for kind, of in sidecar.resources.items()}
    changed = False
    for annotation, (kind, resource) in RESOURCES.items():
        text = annotations.get(annotation)
        if text is None:
            continue
        wrong = _wrong(text, resource)
        if wrong:
            warnings.append(_ignored(annotation, text, wrong))
        else:
            resources.setdefault(kind, {})[resource] = text
            changed = True
    for resource in ("cpu", "memory") if changed else ():
        request, limit = (resources.get(kind, {}).get(resource) for kind in ("requests", "limits"))
        if request is not None and limit is not None and parse_quantity(request) > parse_quantity(limit):
            warnings.append(
                f"toolpolicy: the sidecar would request more {resource} ({request}) than its limit ({limit});"
                " the pod's annotations on its resources are ignored"
            )
            resources = {kind: dict(of) for kind, of in sidecar.resources.items()}
            break
    return Overridden(sidecar._replace(log_level=level, resources=resources), tuple(warnings))


def _wrong(text: str, resource: str) -> str:
    example = "100m or 1" if resource == "cpu" else "128Mi"
    if not _QUANTITY.fullmatch(text):
        return f"is no quantity; write it like {example}"
    amount: Decimal = parse_quantity(text)
    if amount < (Decimal("0.001") if resource == "cpu" else LEAST_MEMORY_BYTES):
        return f"is too little for the sidecar to start; write it like {example}"
    return ""


def _ignored(annotation: str, text: str, wrong: str) -> str:
    return f"toolpolicy: annotation {annotation}: {text[:40]!r} {wrong}; ignored"
