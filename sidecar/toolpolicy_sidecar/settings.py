"""What a sidecar process is told: flags, each with an environment variable of the same name."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from toolpolicy_sidecar.pod import Pod
from toolpolicy_sidecar.telemetry import settings as telemetry

_DOMAIN = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


class Address(NamedTuple):
    host: str
    port: int


class Settings(NamedTuple):
    """Either `policies` (standalone) or `operator` with its files."""

    policies: Path | None
    operator: str | None
    token_file: Path
    ca_file: Path
    bootstrap_dir: Path | None
    labels_file: Path | None
    state_dir: Path | None
    reverse: Address
    forward: Address | None
    transparent_port: int | None
    trust_bundle: Path | None
    authority_dir: Path | None
    intercept_domains: tuple[str, ...]
    extra_roots: Path | None
    client_certificates: Path | None
    admin: Address
    metrics: Address
    cold_start: Literal["Deny", "Passthrough"]
    max_body_bytes: int
    drain_s: float
    log_level: str
    session_header: bytes | None
    user_header: bytes | None
    pod: Pod
    trace_id_header: str | None
    trace_redacted_content: bool
    telemetry: telemetry.Telemetry


def parse(argv: list[str]) -> Settings:  # noqa: PLR0915 -- a line for each flag
    """Exits with 2 and one clear line when something is wrong."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy sidecar",
        description="The proxy beside an agent. Calls of http://REVERSE/<server>/… go to that server of the policies.",
        epilog="Each option may also be given as an environment variable: --state-dir as TOOLPOLICY_STATE_DIR.",
    )

    option = environment(parser)
    option("policies", "standalone: a file or folder of ToolPolicies; read again when it changes")
    option("operator", "in a cluster: the operator's address, such as wss://toolpolicy-operator.ns.svc:443")
    option("token-file", "token for the operator", "/var/run/toolpolicy/token")
    option("ca-file", "the operator's CA certificates", "/var/run/toolpolicy/ca.crt")
    option("bootstrap-dir", "folder with the bootstrap ConfigMap's files")
    option("labels-file", "the pod's labels, as the downward API writes them")
    option("state-dir", "folder that keeps the last good configuration")
    option("reverse", "where the agent's calls come in", "127.0.0.1:19001")
    option("forward", "where the agent's HTTP_PROXY leads, such as 127.0.0.1:19002; by default nowhere")
    option("transparent-port", "with --forward: where `toolpolicy redirect` leads connections, such as 19003")
    option("trust-bundle", "with --forward: file to write, by which the agent trusts intercepted TLS")
    option(
        "authority-dir", "folder in memory (tmpfs) that keeps the authority of intercepted TLS over a restart"
    )
    option(
        "intercept-domains", "the only domains whose TLS is looked into, with commas between; default: any"
    )
    option(
        "extra-roots",
        "file, or folder of files, with more certificates to trust, of servers and for the agent",
    )
    option(
        "client-certificates",
        "folder with one for each clientCertificate of a policy: NAME/tls.crt, NAME/tls.key",
    )
    option("admin", "where the admin API answers; loopback only", "127.0.0.1:19000")
    option("metrics", "where metrics and probes answer", "127.0.0.1:19090")
    option(
        "cold-start",
        "without any configuration: Deny refuses all, Passthrough lets pass what comes to --forward",
        "Deny",
    )
    option("max-body-bytes", "largest body that is read whole", str(10 * 1024 * 1024))
    option("drain-seconds", "on TERM, how long calls in flight may take to end", "5")
    option("log-level", "debug, info, warning or error", "info")
    option(
        "session-header",
        "request header with the session's id; without it from baggage, Mcp-Session-Id or trace",
    )
    option("user-header", "request header with the user's name, for records")
    option(
        "trace-id-header", "request header with a trace id, such as X-Trace-Id, where there is no traceparent"
    )
    option(
        "trace-redacted-content",
        "true: spans have arguments and results of MCP tools, where policies redact them",
        "false",
    )
    option("agent", "the agent's name, for records")
    option("service-account", "the pod's service account, for records")
    given = parser.parse_args(argv)
    if bool(given.policies) == bool(given.operator):
        parser.error("give either --policies (standalone) or --operator (in a cluster)")
    if given.cold_start not in {"Deny", "Passthrough"}:
        parser.error(f"--cold-start is Deny or Passthrough, not {given.cold_start!r}")
    # Passthrough: the reverse listener knows no destination that it could let a call pass to.
    passthrough = given.cold_start == "Passthrough"
    for flag, is_given in (
        ("--cold-start Passthrough", passthrough),
        ("--transparent-port", given.transparent_port),
        ("--trust-bundle", given.trust_bundle),
    ):
        if is_given and not given.forward:
            parser.error(f"{flag} is for the forward proxy: give --forward, too")
    if given.trace_redacted_content not in {"true", "false"}:
        parser.error(f"--trace-redacted-content is true or false, not {given.trace_redacted_content!r}")
    if given.log_level not in {"debug", "info", "warning", "error"}:
        parser.error(f"--log-level is debug, info, warning or error, not {given.log_level!r}")
    try:
        forward = address(given.forward) if given.forward else None
        addresses = [address(text) for text in (given.reverse, given.admin, given.metrics)]
        domains = tuple(_domain(text) for text in given.intercept_domains.split(",") if text.strip())
        transparent_port = int(given.transparent_port) if given.transparent_port else None
        max_body_bytes, drain_s = int(given.max_body_bytes), float(given.drain_seconds)
        exported = telemetry.parse(os.environ)
    except ValueError as wrong:
        parser.error(str(wrong))
    if addresses[1].host not in {"127.0.0.1", "::1", "localhost"}:
        parser.error(f"--admin must be on loopback, not {addresses[1].host}: it switches tools off")
    if forward and forward.host not in {"127.0.0.1", "::1", "localhost"}:
        parser.error(
            f"--forward must be on loopback, not {forward.host}: it is a proxy for whoever reaches it"
        )
    return Settings(
        policies=_path(given.policies),
        operator=given.operator or None,
        token_file=Path(given.token_file),
        ca_file=Path(given.ca_file),
        bootstrap_dir=_path(given.bootstrap_dir),
        labels_file=_path(given.labels_file),
        state_dir=_path(given.state_dir),
        reverse=addresses[0],
        forward=forward,
        transparent_port=transparent_port,
        trust_bundle=_path(given.trust_bundle),
        authority_dir=_path(given.authority_dir),
        intercept_domains=domains,
        extra_roots=_path(given.extra_roots),
        client_certificates=_path(given.client_certificates),
        admin=addresses[1],
        metrics=addresses[2],
        cold_start=given.cold_start,
        max_body_bytes=max_body_bytes,
        drain_s=drain_s,
        log_level=given.log_level,
        session_header=_header(given.session_header),
        user_header=_header(given.user_header),
        pod=Pod(given.agent or None, given.service_account or None),
        trace_id_header=given.trace_id_header or None,
        trace_redacted_content=given.trace_redacted_content == "true",
        telemetry=exported,
    )


def _header(text: str) -> bytes | None:
    return text.lower().encode() if text else None


def _domain(text: str) -> str:
    """Raises ValueError."""
    name = text.strip().lower()
    if not _DOMAIN.fullmatch(name):
        raise ValueError(f"--intercept-domains: {text!r} is no domain, such as corp.example")
    return name


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def environment(parser: argparse.ArgumentParser) -> Callable[..., None]:
    """Adds options: by their name, what they are for, and a default; each is an environment variable, too."""

    def option(name: str, text: str, default: str = "") -> None:
        variable = f"TOOLPOLICY_{name.upper().replace('-', '_')}"
        shown = f" (default {default})" if default else ""
        parser.add_argument(
            f"--{name}", default=os.environ.get(variable, default), metavar="…", help=text + shown
        )

    return option


def address(text: str) -> Address:
    """Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no HOST:PORT")
    return Address(host.strip("[]") or "127.0.0.1", int(port))
