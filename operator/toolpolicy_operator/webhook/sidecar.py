"""The container that is put into agents' pods, and its two volumes. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from toolpolicy_api.channel import AUDIENCE
from toolpolicy_operator.bootstrap import NAME as BOOTSTRAP
from toolpolicy_operator.webhook.telemetry import Telemetry
from toolpolicy_operator.webhook.telemetry import environment as telemetry_environment

CONTAINER = "toolpolicy"
VOLUME, STATE_VOLUME = "toolpolicy", "toolpolicy-state"
MOUNT, STATE_MOUNT = "/var/run/toolpolicy", "/var/lib/toolpolicy"
API_TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 -- a path
USER = 65532
TOKEN_LIFE_S = 3600
ADMIN_PORT, REVERSE_PORT, METRICS_PORT = 19000, 19001, 19090
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
    telemetry: Telemetry = Telemetry()


def volumes() -> list[dict[str, Any]]:
    sources = [
        {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": TOKEN_LIFE_S, "path": "token"}},
        {"configMap": {"name": BOOTSTRAP, "optional": True}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    return [
        {"name": VOLUME, "projected": {"sources": sources}},
        {"name": STATE_VOLUME, "emptyDir": {"sizeLimit": "16Mi"}},
    ]


def container(sidecar: Sidecar) -> dict[str, Any]:
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
        "TOOLPOLICY_LOG_LEVEL": sidecar.log_level,
    }
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
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": VOLUME, "mountPath": MOUNT, "readOnly": True},
            {"name": STATE_VOLUME, "mountPath": STATE_MOUNT},
            # Else the API server mounts the agent's API token here. The sidecar never calls the API server.
            {"name": STATE_VOLUME, "mountPath": API_TOKEN_MOUNT, "readOnly": True},
        ],
    }


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": METRICS_PORT},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
