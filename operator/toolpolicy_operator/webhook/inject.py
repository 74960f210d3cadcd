"""A pod in, a JSON Patch out: the sidecar, its volumes, and the addresses of the tools for the agent. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from toolpolicy_api.channel import AUDIENCE
from toolpolicy_operator.bootstrap import NAME as BOOTSTRAP
from toolpolicy_operator.index import INJECT_LABEL, INJECTED_LABEL

CONTAINER = "toolpolicy"
VOLUME, STATE_VOLUME = "toolpolicy", "toolpolicy-state"
MOUNT, STATE_MOUNT = "/var/run/toolpolicy", "/var/lib/toolpolicy"
USER = 65532
TOKEN_LIFE_S = 3600
ADMIN_PORT, REVERSE_PORT, METRICS_PORT = 19000, 19001, 19090
VERSION_ANNOTATION = "toolpolicy.dev/version"
LOG_LEVEL_ANNOTATION = "toolpolicy.dev/log-level"
LOG_LEVELS = ("debug", "info", "warning", "error")


class Sidecar(NamedTuple):
    """What every injected sidecar of this release has in common."""

    image: str
    operator: str
    cold_start: str = "Deny"
    log_level: str = "info"
    pull_policy: str = "IfNotPresent"
    resources: Mapping[str, Any] = {}
    max_body_bytes: int = 10 * 1024 * 1024
    version: str = ""


class Injection(NamedTuple):
    """`patch` is empty when the pod is left as it is; `why` and `warnings` are for the person who asked."""

    patch: list[dict[str, Any]]
    why: str = ""
    warnings: tuple[str, ...] = ()


def inject(pod: Mapping[str, Any], sidecar: Sidecar, servers: Iterable[str]) -> Injection:
    """`servers`: names of the tool servers that the pod's policies know. Idempotent by the container's name."""
    refusal = _reason_not_to(pod)
    if refusal:
        return Injection([], *refusal)
    metadata, spec = pod.get("metadata") or {}, pod["spec"]
    annotations = metadata.get("annotations") or {}
    level, warnings = _log_level(annotations, sidecar)
    warnings += _port_clashes(spec)
    addresses = _addresses(servers)
    patch: list[dict[str, Any]] = []
    for key in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(key) or ()):
            patch += _environment(f"/spec/{key}/{index}", container, addresses)
    patch += _append(spec, "volumes", _volumes())
    container = _container(sidecar, level)
    if spec.get("initContainers"):
        patch.append({"op": "add", "path": "/spec/initContainers/0", "value": container})
    else:
        patch.append({"op": "add", "path": "/spec/initContainers", "value": [container]})
    patch += _mark(metadata, "labels", INJECTED_LABEL, "true")
    patch += _mark(metadata, "annotations", VERSION_ANNOTATION, sidecar.version)
    return Injection(patch, "injected", tuple(warnings))


def _reason_not_to(pod: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    metadata, spec = pod.get("metadata") or {}, pod["spec"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if labels.get(INJECT_LABEL) == "disabled":
        return "the pod opts out", ()
    if any(container.get("name") == CONTAINER for container in spec.get("initContainers") or ()):
        return "already injected", ()
    if "kubernetes.io/config.mirror" in annotations:
        return "a static pod", ()
    if spec.get("hostNetwork"):
        why = "no toolpolicy sidecar: a pod with hostNetwork would open the sidecar's ports on the node"
        return why, (why,)
    if (spec.get("os") or {}).get("name") == "windows":
        why = "no toolpolicy sidecar: the image is for Linux"
        return why, (why,)
    return None


def variable(server: str) -> str:
    """`kb-eu` → `TOOLPOLICY_KB_EU_URL`."""
    return f"TOOLPOLICY_{server.upper().replace('-', '_')}_URL"


def _addresses(servers: Iterable[str]) -> dict[str, str]:
    base = f"http://127.0.0.1:{REVERSE_PORT}"
    return {"TOOLPOLICY_URL": base} | {variable(server): f"{base}/{server}" for server in sorted(servers)}


def _environment(
    path: str, container: Mapping[str, Any], addresses: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What the user has set stays as it is."""
    known = {item.get("name") for item in container.get("env") or ()}
    new = [{"name": name, "value": value} for name, value in addresses.items() if name not in known]
    if not container.get("env"):
        return [{"op": "add", "path": f"{path}/env", "value": new}]
    return [{"op": "add", "path": f"{path}/env/-", "value": item} for item in new]


def _volumes() -> list[dict[str, Any]]:
    sources = [
        {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": TOKEN_LIFE_S, "path": "token"}},
        {"configMap": {"name": BOOTSTRAP, "optional": True}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    return [
        {"name": VOLUME, "projected": {"sources": sources}},
        {"name": STATE_VOLUME, "emptyDir": {"sizeLimit": "16Mi"}},
    ]


def _container(sidecar: Sidecar, level: str) -> dict[str, Any]:
    environment = {
        "TOOLPOLICY_OPERATOR": sidecar.operator,
        "TOOLPOLICY_TOKEN_FILE": f"{MOUNT}/token",
        "TOOLPOLICY_CA_FILE": f"{MOUNT}/ca.crt",
        "TOOLPOLICY_BOOTSTRAP_DIR": MOUNT,
        "TOOLPOLICY_LABELS_FILE": f"{MOUNT}/labels",
        "TOOLPOLICY_STATE_DIR": STATE_MOUNT,
        "TOOLPOLICY_COLD_START": sidecar.cold_start,
        "TOOLPOLICY_REVERSE": f"127.0.0.1:{REVERSE_PORT}",
        "TOOLPOLICY_ADMIN": f"127.0.0.1:{ADMIN_PORT}",
        "TOOLPOLICY_METRICS": f"0.0.0.0:{METRICS_PORT}",
        "TOOLPOLICY_MAX_BODY_BYTES": str(sidecar.max_body_bytes),
        "TOOLPOLICY_LOG_LEVEL": level,
    }
    return {
        "name": CONTAINER,
        "image": sidecar.image,
        "imagePullPolicy": sidecar.pull_policy,
        "args": ["sidecar"],
        # A native sidecar: starts before every other container, ends after them, does not keep a Job alive.
        "restartPolicy": "Always",
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"name": "tp-metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        # The next container starts when this passes: a configuration is in force, or refused for want of one.
        "startupProbe": _probe("/startupz", period_s=1, failures=60),
        "readinessProbe": _probe("/readyz", period_s=5, failures=3),
        "livenessProbe": _probe("/healthz", period_s=10, failures=3),
        "resources": dict(sidecar.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": VOLUME, "mountPath": MOUNT, "readOnly": True},
            {"name": STATE_VOLUME, "mountPath": STATE_MOUNT},
        ],
    }


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": METRICS_PORT},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _append(spec: Mapping[str, Any], key: str, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if not spec.get(key):
        return [{"op": "add", "path": f"/spec/{key}", "value": list(items)}]
    return [{"op": "add", "path": f"/spec/{key}/-", "value": item} for item in items]


def _mark(metadata: Mapping[str, Any], kind: str, key: str, value: str) -> list[dict[str, Any]]:
    if not metadata.get(kind):
        return [{"op": "add", "path": f"/metadata/{kind}", "value": {key: value}}]
    return [{"op": "add", "path": f"/metadata/{kind}/{key.replace('/', '~1')}", "value": value}]


def _log_level(annotations: Mapping[str, str], sidecar: Sidecar) -> tuple[str, list[str]]:
    level = annotations.get(LOG_LEVEL_ANNOTATION)
    if level is None or level in LOG_LEVELS:
        return level or sidecar.log_level, []
    known = ", ".join(LOG_LEVELS)
    return sidecar.log_level, [f"annotation {LOG_LEVEL_ANNOTATION}: {level!r} is none of {known}; ignored"]


def _port_clashes(spec: Mapping[str, Any]) -> list[str]:
    ours = {ADMIN_PORT, REVERSE_PORT, METRICS_PORT}
    return [
        f"container {container.get('name')} uses port {port['containerPort']}, which the toolpolicy sidecar needs"
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("containerPort") in ours
    ]
