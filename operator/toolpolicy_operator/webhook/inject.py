"""A pod in, a JSON Patch out: the sidecar, its volumes, and the addresses of the tools for the agent. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from toolpolicy_api.snapshot import Server
from toolpolicy_operator.index import INJECT_LABEL, INJECTED_LABEL
from toolpolicy_operator.uncovered import MIRROR_ANNOTATION
from toolpolicy_operator.webhook.environment import addresses, environment
from toolpolicy_operator.webhook.overrides import override
from toolpolicy_operator.webhook.sidecar import (
    CONTAINER,
    PORTS,
    REDIRECT,
    TRANSPARENT_USER,
    TRUST_MOUNT,
    TRUST_VOLUME,
    VOLUMES,
    Sidecar,
    container,
    redirect,
    volumes,
)

VERSION_ANNOTATION = "toolpolicy.dev/version"
CONFLICTS_ANNOTATION = "toolpolicy.dev/not-forwarded"
NOT_INJECTED_ANNOTATION = "toolpolicy.dev/not-injected"

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


def inject(pod: Pod, sidecar: Sidecar, servers: Sequence[Server]) -> Injection:
    """`servers`: those that the pod's policies know. Idempotent by the container's name."""
    left = leave(pod)
    if left:
        return left
    metadata, spec = pod.get("metadata") or {}, pod["spec"]
    own, warnings = override(sidecar, metadata.get("annotations") or {})
    known = addresses(server.name for server in servers)
    secrets = {server.tls.client_certificate or "" for server in servers if server.tls} - {""}
    own = own._replace(client_certificates=tuple(sorted(secrets)))
    patch: Patch = []
    conflicts: list[str] = []
    for key in ("initContainers", "containers"):
        for index, other in enumerate(spec.get(key) or ()):
            at = f"/spec/{key}/{index}"
            told = environment(other, known, own)
            patch.append({"op": "add", "path": f"{at}/env", "value": told.env})
            conflicts += told.conflicts
            if own.forward:
                patch += _append(other, f"{at}/volumeMounts", [_TRUST_MOUNT])
    led_by_kernel = own.forward and own.transparent
    conflicts += _past_the_kernel(spec) if led_by_kernel else ()
    patch += _append(spec, "/spec/volumes", volumes(own))
    ours = [redirect(own), container(own)] if led_by_kernel else [container(own)]
    if spec.get("initContainers"):
        at = "/spec/initContainers/0"
        patch += [{"op": "add", "path": at, "value": one} for one in reversed(ours)]
    else:
        patch.append({"op": "add", "path": "/spec/initContainers", "value": ours})
    patch += _mark(metadata, "labels", {INJECTED_LABEL: "true"})
    # A warning reaches kubectl, but not who looks at a Deployment's pod: that one finds the annotation.
    told_why = {CONFLICTS_ANNOTATION: "; ".join(conflicts)} if conflicts else {}
    patch += _mark(metadata, "annotations", {VERSION_ANNOTATION: sidecar.version, **told_why})
    warnings += tuple(f"toolpolicy: {conflict}" for conflict in conflicts)
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
        patch = _mark(metadata, "annotations", {NOT_INJECTED_ANNOTATION: left.why})
        warning = f"toolpolicy: no sidecar is injected: {left.why}"
        return Injection(injected=False, why=left.why, patch=patch, warnings=(warning,))
    return None


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
    for kind, ours in (("containers", {CONTAINER, REDIRECT}), ("volumes", VOLUMES)):
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


_TRUST_MOUNT = {"name": TRUST_VOLUME, "mountPath": TRUST_MOUNT, "readOnly": True}


def _append(whole: Mapping[str, Any], path: str, items: Sequence[Mapping[str, Any]]) -> Patch:
    if not whole.get(path.rpartition("/")[2]):
        return [{"op": "add", "path": path, "value": list(items)}]
    return [{"op": "add", "path": f"{path}/-", "value": item} for item in items]


def _mark(metadata: Mapping[str, Any], kind: str, values: Mapping[str, str]) -> Patch:
    if not metadata.get(kind):
        return [{"op": "add", "path": f"/metadata/{kind}", "value": dict(values)}]
    return [
        {"op": "add", "path": f"/metadata/{kind}/{key.replace('/', '~1')}", "value": value}
        for key, value in values.items()
    ]


def _past_the_kernel(spec: Mapping[str, Any]) -> Iterator[str]:
    """Who runs as the sidecar's user is taken for it. What an image says of its user is not known here."""
    of_pod = (spec.get("securityContext") or {}).get("runAsUser")
    for other in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if (other.get("securityContext") or {}).get("runAsUser", of_pod) == TRANSPARENT_USER:
            yield (
                f"container {other.get('name')} runs as user {TRANSPARENT_USER}, as the sidecar does, so the kernel"
                " lets its connections pass"
            )


def _port_clashes(spec: Mapping[str, Any]) -> Iterator[str]:
    """Declared ports only; nobody has to declare one."""
    for other in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for port in other.get("ports") or ():
            number = port.get("containerPort")
            if number in PORTS:
                yield (
                    f"toolpolicy: container {other.get('name')} uses port {number}, which the sidecar needs:"
                    " one of the two will not start"
                )
