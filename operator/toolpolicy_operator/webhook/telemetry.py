"""Where injected sidecars send traces and logs, and by which headers they know sessions and users. Pure."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Url = Annotated[str, Meta(pattern=r"^(https?://[^\s/]+.*)?$")]
Header = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]*$")]
HEADERS_KEY = "headers"
"""Of the Secret: `name=value,name=value`, as OTEL_EXPORTER_OTLP_HEADERS has it."""


class Traces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`sampling`: of the traces that begin at a sidecar, 0 to 1. What fails is kept in any case."""

    endpoint: Url = ""
    sampling: Annotated[float, Meta(ge=0, le=1)] = 0.01
    trace_id_header: Header = ""
    redacted_content: bool = False


class Logs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: Url = ""


class Telemetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The chart's values `telemetry`. An endpoint is the base of OTLP/HTTP, without /v1/traces; "": nothing is sent."""

    traces: Traces = Traces()
    logs: Logs = Logs()
    headers_secret: str = ""
    session_header: Header = ""
    user_header: Header = ""


def parse(text: str) -> Telemetry:
    """Raises ValueError, with the field that is wrong."""
    return msgspec.json.decode(text, type=Telemetry)


def environment(telemetry: Telemetry) -> list[dict[str, Any]]:
    """Of the sidecar's container, in the order that references need."""
    traces, logs = telemetry.traces, telemetry.logs
    plain = {
        "TOOLPOLICY_SESSION_HEADER": telemetry.session_header,
        "TOOLPOLICY_USER_HEADER": telemetry.user_header,
        "TOOLPOLICY_TRACE_ID_HEADER": traces.trace_id_header,
    }
    found = [_field("TOOLPOLICY_SERVICE_ACCOUNT", "spec.serviceAccountName")]
    if traces.endpoint or logs.endpoint:
        found += [
            _field("TOOLPOLICY_POD", "metadata.name"),
            _field("TOOLPOLICY_NAMESPACE", "metadata.namespace"),
        ]
        plain["OTEL_RESOURCE_ATTRIBUTES"] = (
            "k8s.pod.name=$(TOOLPOLICY_POD),k8s.namespace.name=$(TOOLPOLICY_NAMESPACE)"
        )
        if telemetry.headers_secret:
            found.append(_secret("OTEL_EXPORTER_OTLP_HEADERS", telemetry.headers_secret))
    if traces.endpoint:
        plain |= {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{traces.endpoint.rstrip('/')}/v1/traces",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": f"{traces.sampling:.6f}",
        }
    if traces.redacted_content:
        plain["TOOLPOLICY_TRACE_REDACTED_CONTENT"] = "true"
    if logs.endpoint:
        plain |= {
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{logs.endpoint.rstrip('/')}/v1/logs",
        }
    return [*found, *({"name": name, "value": value} for name, value in plain.items() if value)]


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _secret(name: str, secret: str) -> dict[str, Any]:
    """Optional: a Secret that is missing costs spans, not the pod."""
    return {
        "name": name,
        "valueFrom": {"secretKeyRef": {"name": secret, "key": HEADERS_KEY, "optional": True}},
    }
