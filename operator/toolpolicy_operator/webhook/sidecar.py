"""The container that is put into agents' pods, and its volumes. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from toolpolicy_api.channel import AUDIENCE
from toolpolicy_operator.bootstrap import NAME as BOOTSTRAP
from toolpolicy_operator.webhook.telemetry import Telemetry
from toolpolicy_operator.webhook.telemetry import environment as telemetry_environment

CONTAINER = "toolpolicy"
VOLUME, STATE_VOLUME = "toolpolicy", "toolpolicy-state"
MOUNT, STATE_MOUNT = "/var/run/toolpolicy", "/var/lib/toolpolicy"
CLIENTS_VOLUME, CLIENTS_MOUNT = "toolpolicy-clients", "/var/run/toolpolicy-clients"
TRUST_VOLUME, AUTHORITY_VOLUME, ROOTS_VOLUME = "toolpolicy-trust", "toolpolicy-authority", "toolpolicy-roots"
TRUST_MOUNT, AUTHORITY_MOUNT, ROOTS_MOUNT = (
    "/var/run/toolpolicy-trust",
    "/var/run/toolpolicy-authority",
    "/var/run/toolpolicy-roots",
)
VOLUMES = frozenset({VOLUME, STATE_VOLUME, TRUST_VOLUME, AUTHORITY_VOLUME, ROOTS_VOLUME, CLIENTS_VOLUME})
BUNDLE = f"{TRUST_MOUNT}/bundle.pem"
API_TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 -- a path
USER = 65532
TOKEN_LIFE_S = 3600
ADMIN_PORT, REVERSE_PORT, FORWARD_PORT, TRANSPARENT_PORT, METRICS_PORT = 19000, 19001, 19002, 19003, 19090
PORTS = frozenset({ADMIN_PORT, REVERSE_PORT, FORWARD_PORT, TRANSPARENT_PORT, METRICS_PORT})
REDIRECT = "toolpolicy-redirect"
TRANSPARENT_USER = 61903
"""Of a sidecar whose connections are told from the agent's by it: 65532 is what many images run as."""
LOG_LEVELS = ("debug", "info", "warning", "error")


class Sidecar(NamedTuple):
    """What every injected sidecar of this release has in common. `forward`: agents' environment leads to it.
    `transparent`: the kernel does as well.
    `no_proxy`: hosts that they reach past it. `domains`: the only ones whose TLS it may look into; none: any that a
    policy names. `extra_roots`: a ConfigMap of the pod's namespace with more certificates to trust.
    `client_certificates`: Secrets that a pod's servers are to be shown."""

    image: str
    operator: str
    forward: bool = True
    transparent: bool = False
    no_proxy: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    extra_roots: str = ""
    client_certificates: tuple[str, ...] = ()
    cold_start: str = "Deny"
    log_level: str = "info"
    pull_policy: str = "IfNotPresent"
    resources: Mapping[str, Any] = {}
    max_body_bytes: int = 10 * 1024 * 1024
    version: str = ""
    telemetry: Telemetry = Telemetry()


def volumes(sidecar: Sidecar) -> list[dict[str, Any]]:
    sources = [
        {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": TOKEN_LIFE_S, "path": "token"}},
        {"configMap": {"name": BOOTSTRAP, "optional": True}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    found: list[dict[str, Any]] = [
        {"name": VOLUME, "projected": {"sources": sources}},
        {"name": STATE_VOLUME, "emptyDir": {"sizeLimit": "16Mi"}},
    ]
    if sidecar.forward:
        found += [
            {"name": TRUST_VOLUME, "emptyDir": {"sizeLimit": "16Mi"}},
            # The authority's key outlives a restart of the container, never the pod, and is on no disk.
            {"name": AUTHORITY_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ]
    if sidecar.extra_roots:
        found.append({"name": ROOTS_VOLUME, "configMap": {"name": sidecar.extra_roots, "optional": True}})
    if sidecar.client_certificates:
        sources = [_certificate(name) for name in sidecar.client_certificates]
        found.append({"name": CLIENTS_VOLUME, "projected": {"sources": sources}})
    return found


def _certificate(secret: str) -> dict[str, Any]:
    """Optional: a Secret that is missing costs the calls of its server, not the pod."""
    items = [{"key": key, "path": f"{secret}/{key}"} for key in ("tls.crt", "tls.key")]
    return {"secret": {"name": secret, "items": items, "optional": True}}


def container(sidecar: Sidecar) -> dict[str, Any]:
    environment = {
        "TOOLPOLICY_OPERATOR": sidecar.operator,
        "TOOLPOLICY_TOKEN_FILE": f"{MOUNT}/token",
        "TOOLPOLICY_CA_FILE": f"{MOUNT}/ca.crt",
        "TOOLPOLICY_BOOTSTRAP_DIR": MOUNT,
        "TOOLPOLICY_LABELS_FILE": f"{MOUNT}/labels",
        "TOOLPOLICY_STATE_DIR": STATE_MOUNT,
        # Passthrough is for the forward proxy: without that there is nothing that could pass.
        "TOOLPOLICY_COLD_START": sidecar.cold_start if sidecar.forward else "Deny",
        "TOOLPOLICY_REVERSE": f"127.0.0.1:{REVERSE_PORT}",
        "TOOLPOLICY_ADMIN": f"127.0.0.1:{ADMIN_PORT}",
        "TOOLPOLICY_METRICS": f"0.0.0.0:{METRICS_PORT}",
        "TOOLPOLICY_MAX_BODY_BYTES": str(sidecar.max_body_bytes),
        "TOOLPOLICY_LOG_LEVEL": sidecar.log_level,
    }
    mounts: list[dict[str, Any]] = [
        {"name": VOLUME, "mountPath": MOUNT, "readOnly": True},
        {"name": STATE_VOLUME, "mountPath": STATE_MOUNT},
        # Else the API server mounts the agent's API token here. The sidecar never calls the API server.
        {"name": STATE_VOLUME, "mountPath": API_TOKEN_MOUNT, "readOnly": True},
    ]
    if sidecar.forward:
        environment |= {
            "TOOLPOLICY_FORWARD": f"127.0.0.1:{FORWARD_PORT}",
            "TOOLPOLICY_TRUST_BUNDLE": BUNDLE,
            "TOOLPOLICY_AUTHORITY_DIR": AUTHORITY_MOUNT,
        }
        if sidecar.transparent:
            environment["TOOLPOLICY_TRANSPARENT_PORT"] = str(TRANSPARENT_PORT)
        if sidecar.domains:
            environment["TOOLPOLICY_INTERCEPT_DOMAINS"] = ",".join(sidecar.domains)
        mounts += [
            {"name": TRUST_VOLUME, "mountPath": TRUST_MOUNT},
            {"name": AUTHORITY_VOLUME, "mountPath": AUTHORITY_MOUNT},
        ]
    if sidecar.extra_roots:
        environment["TOOLPOLICY_EXTRA_ROOTS"] = ROOTS_MOUNT
        mounts.append({"name": ROOTS_VOLUME, "mountPath": ROOTS_MOUNT, "readOnly": True})
    if sidecar.client_certificates:
        environment["TOOLPOLICY_CLIENT_CERTIFICATES"] = CLIENTS_MOUNT
        mounts.append({"name": CLIENTS_VOLUME, "mountPath": CLIENTS_MOUNT, "readOnly": True})
    user = TRANSPARENT_USER if sidecar.transparent else USER
    return {
        "name": CONTAINER,
        "image": sidecar.image,
        "imagePullPolicy": sidecar.pull_policy,
        "args": ["sidecar"],
        # A native sidecar: starts before every other container, ends after them, does not keep a Job alive.
        "restartPolicy": "Always",
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            *telemetry_environment(sidecar.telemetry),
        ],
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
            "runAsGroup": user,
            "runAsNonRoot": True,
            "runAsUser": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def redirect(sidecar: Sidecar) -> dict[str, Any]:
    """Goes before the sidecar, ends at once, and is the one that may change the pod's network."""
    args = ["redirect", f"--port={TRANSPARENT_PORT}", f"--uid={TRANSPARENT_USER}"]
    return {
        "name": REDIRECT,
        "image": sidecar.image,
        "imagePullPolicy": sidecar.pull_policy,
        "args": [*args, f"--past={','.join(sidecar.no_proxy)}"],
        "resources": dict(sidecar.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "runAsUser": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        # Else the API server mounts the agent's API token here.
        "volumeMounts": [{"name": STATE_VOLUME, "mountPath": API_TOKEN_MOUNT, "readOnly": True}],
    }


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": METRICS_PORT},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
