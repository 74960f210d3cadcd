"""What a pod's annotations may change in its sidecar: log level, CPU, memory, proxy and roots. Pure.

A wrong value costs a warning, never the pod: the API server would refuse the whole pod for it.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from kubernetes.utils.quantity import parse_quantity

from toolpolicy_api.clean import clean
from toolpolicy_operator.webhook.sidecar import LOG_LEVELS, Sidecar

LOG_LEVEL = "toolpolicy.dev/log-level"
FORWARD = "toolpolicy.dev/forward"
EXTRA_ROOTS = "toolpolicy.dev/extra-roots"
RESOURCES = {
    "toolpolicy.dev/cpu-request": ("requests", "cpu", "1m"),
    "toolpolicy.dev/cpu-limit": ("limits", "cpu", "10m"),
    "toolpolicy.dev/memory-request": ("requests", "memory", "1Mi"),
    "toolpolicy.dev/memory-limit": ("limits", "memory", "64Mi"),
}
"""Annotation → kind, resource, and the least with which a sidecar starts; `128` without a unit is 128 bytes."""
_CONFIG_MAP = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
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
    forward = annotations.get(FORWARD, "enabled" if sidecar.forward else "disabled")
    if forward not in {"enabled", "disabled"}:
        warnings.append(_ignored(FORWARD, forward, "is neither enabled nor disabled"))
        forward = "enabled" if sidecar.forward else "disabled"
    roots = annotations.get(EXTRA_ROOTS, sidecar.extra_roots)
    if roots and not _CONFIG_MAP.fullmatch(roots):
        warnings.append(_ignored(EXTRA_ROOTS, roots, "is no name of a ConfigMap"))
        roots = sidecar.extra_roots
    sidecar = sidecar._replace(log_level=level, forward=forward == "enabled", extra_roots=roots)
    resources: dict[str, dict[str, Any]] = {kind: dict(of) for kind, of in sidecar.resources.items()}
    changed = False
    for annotation, (kind, resource, least) in RESOURCES.items():
        text = annotations.get(annotation)
        if text is None:
            continue
        wrong = _wrong(text, least)
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
    return Overridden(sidecar._replace(resources=resources), tuple(warnings))


def _wrong(text: str, least: str) -> str:
    if not _QUANTITY.fullmatch(text):
        return "is no quantity; write it like 100m (CPU) or 128Mi (memory)"
    if parse_quantity(text) < parse_quantity(least):
        return f"is less than {least}"
    return ""


def _ignored(annotation: str, text: str, wrong: str) -> str:
    return f"toolpolicy: annotation {annotation}: {clean(text)[:40]!r} {wrong}; ignored"
