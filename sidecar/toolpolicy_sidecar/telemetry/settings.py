"""Where telemetry goes, by the environment variables that OpenTelemetry has for it. Without an endpoint: nowhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from toolpolicy_sidecar.telemetry.sampling import Sampler

Signal = Literal["traces", "logs"]

_SAMPLERS = {
    "always_on": Sampler(1.0, follows=False),
    "always_off": Sampler(0.0, follows=False),
    "traceidratio": Sampler(1.0, follows=False),
    "parentbased_always_on": Sampler(1.0),
    "parentbased_always_off": Sampler(0.0),
    "parentbased_traceidratio": Sampler(1.0),
}


class BadTelemetry(ValueError):  # noqa: N818 -- a verdict on input
    """Names the variable that is wrong."""


class Destination(NamedTuple):
    """One signal's OTLP/HTTP receiver. `headers` may hold credentials: never to be shown."""

    signal: Signal
    url: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    gzip: bool = False
    timeout_s: float = 10.0
    queue: int = 2048
    """Spans or records that wait at most; what is over is dropped."""
    batch: int = 512
    delay_s: float = 5.0
    """Between two batches, unless one is full before."""
    ca_file: Path | None = None
    certificate: tuple[Path, Path | None] | None = None
    """Of the sidecar as a client: certificate and key."""


class Telemetry(NamedTuple):
    traces: Destination | None
    logs: Destination | None
    sampler: Sampler
    resource: Mapping[str, str]
    """What the telemetry is about: the sidecar, its pod."""


def parse(environment: Mapping[str, str]) -> Telemetry:
    """Raises BadTelemetry."""
    get = environment.get
    off = get("OTEL_SDK_DISABLED", "").lower() == "true"
    traces = None if off else _destination(environment, "traces", default="otlp")
    logs = None if off else _destination(environment, "logs", default="none")
    resource = {"service.name": "toolpolicy"} | dict(
        _pairs("OTEL_RESOURCE_ATTRIBUTES", get("OTEL_RESOURCE_ATTRIBUTES", ""))
    )
    if get("OTEL_SERVICE_NAME"):
        resource["service.name"] = environment["OTEL_SERVICE_NAME"]
    return Telemetry(traces, logs, _sampler(environment), resource)


def _destination(environment: Mapping[str, str], signal: Signal, default: str) -> Destination | None:
    exporter = environment.get(f"OTEL_{signal.upper()}_EXPORTER", default).strip().lower() or default
    if exporter == "none":
        return None
    if exporter != "otlp":
        raise BadTelemetry(f"OTEL_{signal.upper()}_EXPORTER is otlp or none, not {exporter!r}")

    def either(name: str, default: str = "") -> str:
        """The signal's own variable counts before the one for all."""
        own = environment.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", "").strip()
        return own or environment.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip() or default

    url = environment.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
    if not url:
        base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
        if not base:
            return None
        url = f"{base.rstrip('/')}/v1/{signal}"
    protocol, compression = either("PROTOCOL", "http/protobuf"), either("COMPRESSION", "none")
    if protocol != "http/protobuf":
        raise BadTelemetry(f"OTEL_EXPORTER_OTLP_PROTOCOL is http/protobuf, not {protocol!r}")
    if compression not in {"gzip", "none"}:
        raise BadTelemetry(f"OTEL_EXPORTER_OTLP_COMPRESSION is gzip or none, not {compression!r}")
    batching = {"traces": "OTEL_BSP", "logs": "OTEL_BLRP"}[signal]
    ca_file, client, key = either("CERTIFICATE"), either("CLIENT_CERTIFICATE"), either("CLIENT_KEY")
    queue = int(_number(environment, f"{batching}_MAX_QUEUE_SIZE", 2048))
    return Destination(
        signal,
        _checked_url(url),
        tuple(
            (name.lower().encode(), value.encode())
            for name, value in _pairs("OTEL_EXPORTER_OTLP_HEADERS", either("HEADERS"))
        ),
        gzip=compression == "gzip",
        timeout_s=_milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", either("TIMEOUT", "10000")),
        queue=queue,
        batch=min(queue, int(_number(environment, f"{batching}_MAX_EXPORT_BATCH_SIZE", 512))),
        delay_s=_number(environment, f"{batching}_SCHEDULE_DELAY", 5000) / 1000,
        ca_file=Path(ca_file) if ca_file else None,
        certificate=(Path(client), Path(key) if key else None) if client else None,
    )


def _sampler(environment: Mapping[str, str]) -> Sampler:
    name = environment.get("OTEL_TRACES_SAMPLER", "").strip() or "parentbased_always_on"
    if name not in _SAMPLERS:
        raise BadTelemetry(f"OTEL_TRACES_SAMPLER is one of {', '.join(_SAMPLERS)}, not {name!r}")
    sampler = _SAMPLERS[name]
    text = environment.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if not name.endswith("traceidratio") or not text:
        return sampler
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise BadTelemetry(f"OTEL_TRACES_SAMPLER_ARG is a number from 0 to 1, not {text!r}")
    return sampler._replace(ratio=ratio)


def _pairs(variable: str, text: str) -> list[tuple[str, str]]:
    """`key=value,key=value`, values percent-encoded."""
    found = []
    for member in text.split(","):
        if not member.strip():
            continue
        key, equals, value = member.partition("=")
        if not equals or not key.strip() or not key.strip().isascii():
            raise BadTelemetry(f"{variable} is key=value,key=value; one of its members is not")
        found.append((key.strip(), unquote(value.strip())))
    return found


def _number(environment: Mapping[str, str], variable: str, default: int) -> float:
    text = environment.get(variable, "").strip() or str(default)
    if not text.isdigit() or int(text) < 1:
        raise BadTelemetry(f"{variable} is a whole number above 0, not {text!r}")
    return float(text)


def _milliseconds(variable: str, text: str) -> float:
    """In seconds."""
    if not text.isdigit() or int(text) < 1:
        raise BadTelemetry(f"{variable} is in whole milliseconds, not {text!r}")
    return int(text) / 1000


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise BadTelemetry(
            "the OTLP endpoint is no http(s) URL, such as http://otel-collector.observability:4318"
        )
    return url
