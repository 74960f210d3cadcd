"""A pod in, a JSON Patch out: the sidecar, its volumes, and the addresses of the tools for the agent. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from toolpolicy_operator.index import INJECT_LABEL, INJECTED_LABEL
from toolpolicy_operator.webhook.overrides import override
from toolpolicy_operator.webhook.sidecar import (
    ADMIN_PORT,
    CONTAINER,
    METRICS_PORT,
    REVERSE_PORT,
    STATE_VOLUME,
    VOLUME,
    Sidecar,
    container,
    volumes,
)

VERSION_ANNOTATION = "toolpolicy.dev/version"
NOT_INJECTED_ANNOTATION = "toolpolicy.dev/not-injected"
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

Pod = Mapping[str, Any]
Patch = list[dict[str, Any]]


class Left(NamedTuple):
    """A pod that gets no sidecar. `surprising`: who asked for one has to be told."""

    why: str
    surprising: bool = False


class Injection(NamedTuple):
    """`injected` says whether the pod gets a sidecar; `warnings` are for the person who made it."""

    injected: bool
    why: str
    patch: Patch
    warnings: tuple[str, ...] = ()


def inject(pod: Pod, sidecar: Sidecar, servers: Iterable[str]) -> Injection:
    """`servers`: names of the tool servers that the pod's policies know. Idempotent by the container's name."""
    left = leave(pod)
    if left:
        return left
    metadata, spec = pod.get("metadata") or {}, pod["spec"]
    own, warnings = override(sidecar, metadata.get("annotations") or {})
    addresses = _addresses(servers)
    patch: Patch = []
    for key in ("initContainers", "containers"):
        for index, other in enumerate(spec.get(key) or ()):
            patch += _environment(f"/spec/{key}/{index}/env", other.get("env") or (), addresses)
    patch += _append(spec, "volumes", volumes())
    if spec.get("initContainers"):
        patch.append({"op": "add", "path": "/spec/initContainers/0", "value": container(own)})
    else:
        patch.append({"op": "add", "path": "/spec/initContainers", "value": [container(own)]})
    patch += _mark(metadata, "labels", INJECTED_LABEL, "true")
    patch += _mark(metadata, "annotations", VERSION_ANNOTATION, sidecar.version)
    return Injection(injected=True, why="injected", patch=patch, warnings=(*warnings, *_port_clashes(spec)))


def leave(pod: Pod) -> Injection | None:
    """The answer for a pod that gets no sidecar, whatever its policies."""
    metadata, spec = pod.get("metadata") or {}, pod["spec"]
    for reason in REASONS:
        left = reason(metadata, spec)
        if left is None:
            continue
        if not left.surprising:
            return Injection(injected=False, why=left.why, patch=[])
        # A warning reaches kubectl, but not who looks at a Deployment's pod: that one finds the annotation.
        patch = _mark(metadata, "annotations", NOT_INJECTED_ANNOTATION, left.why)
        warning = f"toolpolicy: no sidecar is injected: {left.why}"
        return Injection(injected=False, why=left.why, patch=patch, warnings=(warning,))
    return None


def variable(server: str) -> str:
    """`kb-eu` → `TOOLPOLICY_KB_EU_URL`."""
    return f"TOOLPOLICY_{server.upper().replace('-', '_')}_URL"


# Why a pod is left without a sidecar; the first that speaks decides.
def _opted_out(metadata: Mapping[str, Any], _: Mapping[str, Any]) -> Left | None:
    out = (metadata.get("labels") or {}).get(INJECT_LABEL) == "disabled"
    return Left("the pod opts out") if out else None


def _has_one(_: Mapping[str, Any], spec: Mapping[str, Any]) -> Left | None:
    known = any(one.get("name") == CONTAINER for one in spec.get("initContainers") or ())
    return Left("already injected") if known else None


def _mirror(metadata: Mapping[str, Any], _: Mapping[str, Any]) -> Left | None:
    """The API server's image of a pod that runs from a file on a node: a change would change nothing."""
    return Left("a static pod") if MIRROR_ANNOTATION in (metadata.get("annotations") or {}) else None


def _host_network(_: Mapping[str, Any], spec: Mapping[str, Any]) -> Left | None:
    why = "with hostNetwork the sidecar's ports would be open on the node"
    return Left(why, surprising=True) if spec.get("hostNetwork") else None


def _windows(_: Mapping[str, Any], spec: Mapping[str, Any]) -> Left | None:
    chosen = (spec.get("os") or {}).get("name"), (spec.get("nodeSelector") or {}).get("kubernetes.io/os")
    return Left("the sidecar's image is for Linux", surprising=True) if "windows" in chosen else None


def _names_taken(_: Mapping[str, Any], spec: Mapping[str, Any]) -> Left | None:
    """The API server would refuse the whole pod for a name that appears twice."""
    for kind, ours in (("containers", {CONTAINER}), ("volumes", {VOLUME, STATE_VOLUME})):
        taken = sorted(ours & {one.get("name") for one in spec.get(kind) or ()})
        if taken:
            return Left(f"the pod has {kind[:-1]} {taken[0]!r} of its own; rename it", surprising=True)
    return None


REASONS: tuple[Callable[[Mapping[str, Any], Mapping[str, Any]], Left | None], ...] = (
    _opted_out,
    _has_one,
    _mirror,
    _host_network,
    _windows,
    _names_taken,
)


def _addresses(servers: Iterable[str]) -> dict[str, str]:
    base = f"http://127.0.0.1:{REVERSE_PORT}"
    return {"TOOLPOLICY_URL": base} | {variable(server): f"{base}/{server}" for server in sorted(servers)}


def _environment(path: str, env: Sequence[Mapping[str, Any]], addresses: Mapping[str, str]) -> Patch:
    """What the user has set stays. Ours come first, so that the user's own may say `$(TOOLPOLICY_KB_URL)`."""
    known = {item.get("name") for item in env}
    new = [{"name": name, "value": value} for name, value in addresses.items() if name not in known]
    if not env:
        return [{"op": "add", "path": path, "value": new}]
    return [{"op": "add", "path": f"{path}/0", "value": item} for item in reversed(new)]


def _append(spec: Mapping[str, Any], key: str, items: Sequence[Mapping[str, Any]]) -> Patch:
    if not spec.get(key):
        return [{"op": "add", "path": f"/spec/{key}", "value": list(items)}]
    return [{"op": "add", "path": f"/spec/{key}/-", "value": item} for item in items]


def _mark(metadata: Mapping[str, Any], kind: str, key: str, value: str) -> Patch:
    if not metadata.get(kind):
        return [{"op": "add", "path": f"/metadata/{kind}", "value": {key: value}}]
    return [{"op": "add", "path": f"/metadata/{kind}/{key.replace('/', '~1')}", "value": value}]


def _port_clashes(spec: Mapping[str, Any]) -> Iterator[str]:
    """Declared ports only; nobody has to declare one."""
    ours = {ADMIN_PORT, REVERSE_PORT, METRICS_PORT}
    for other in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for port in other.get("ports") or ():
            number = port.get("containerPort")
            if number in ours:
                yield (
                    f"toolpolicy: container {other.get('name')} uses port {number}, which the sidecar needs:"
                    " one of the two will not start"
                )
