"""How a webhook process is told what to inject and where it runs: flags, each with an environment variable."""

import argparse
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from toolpolicy_operator.webhook import telemetry
from toolpolicy_operator.webhook.sidecar import LOG_LEVELS, Sidecar


class Settings(NamedTuple):
    port: int
    health_port: int
    certificates: Path
    log_level: str
    sidecar: Sidecar


def parse(argv: list[str]) -> Settings:
    """Exits with 2 and one clear line when something is wrong."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy webhook", description="Injects sidecars, validates policies."
    )

    def flag(
        name: str, text: str, default: str | None = None, choices: tuple[str, ...] | None = None
    ) -> None:
        variable = f"TOOLPOLICY_{name.upper().replace('-', '_')}"
        given = os.environ.get(variable, default)
        parser.add_argument(
            f"--{name}",
            default=given,
            required=given is None,
            choices=choices,
            help=f"{text} (also {variable}; default {default})",
        )

    flag("image", "the sidecars' image")
    flag(
        "operator",
        "where sidecars find the operator, such as wss://toolpolicy-operator.toolpolicy-system.svc:443",
    )
    flag("certificates", "folder with tls.crt and tls.key", "/etc/toolpolicy/tls")
    flag("port", "where the API server connects", "8443")
    flag("health-port", "metrics and probes", "9090")
    flag("log-level", "how much this process says", "info", LOG_LEVELS)
    flag(
        "cold-start",
        "what a sidecar does that has found no policy anywhere",
        "Deny",
        ("Deny", "Passthrough"),
    )
    flag(
        "pull-policy", "imagePullPolicy of the sidecars", "IfNotPresent", ("Always", "IfNotPresent", "Never")
    )
    flag("sidecar-resources", "requests and limits of the sidecars, as JSON", "{}")
    flag("sidecar-log-level", "how much the sidecars say", "info", LOG_LEVELS)
    flag("sidecar-telemetry", "where the sidecars send traces and logs, as JSON", "{}")
    flag(
        "forward",
        "do agents' calls of the tools' own addresses come to the sidecar?",
        "true",
        ("true", "false"),
    )
    flag(
        "transparent",
        "does the kernel lead all connections there? Needs NET_ADMIN",
        "false",
        ("true", "false"),
    )
    flag("no-proxy", "hosts that agents reach past the sidecar, with commas between", "")
    flag(
        "intercept-domains",
        "the only domains whose TLS sidecars may look into; empty: any that a policy names",
        "",
    )
    flag("extra-roots", "ConfigMap, in each agent's namespace, with more certificates to trust", "")
    flag("max-body-bytes", "largest body that a sidecar reads whole", str(10 * 1024 * 1024))
    options = parser.parse_args(argv)
    try:
        resources = _resources(options.sidecar_resources)
        told = telemetry.parse(options.sidecar_telemetry)
        ports = int(options.port), int(options.health_port)
        max_body_bytes = int(options.max_body_bytes)
    except ValueError as wrong:
        parser.error(str(wrong))
    sidecar = Sidecar(
        image=options.image,
        operator=options.operator,
        forward=options.forward == "true",
        transparent=options.transparent == "true",
        no_proxy=_list(options.no_proxy),
        domains=_list(options.intercept_domains),
        extra_roots=options.extra_roots,
        cold_start=options.cold_start,
        log_level=options.sidecar_log_level,
        pull_policy=options.pull_policy,
        resources=resources,
        max_body_bytes=max_body_bytes,
        version=version("toolpolicy"),
        telemetry=told,
    )
    return Settings(*ports, Path(options.certificates), options.log_level, sidecar)


def _list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _resources(text: str) -> Mapping[str, Any]:
    """Raises ValueError. What is wrong here would make the API server refuse every pod that is injected."""
    found = json.loads(text)
    if not isinstance(found, dict) or not all(
        kind in {"requests", "limits"} and isinstance(of, dict) for kind, of in found.items()
    ):
        raise ValueError(f"--sidecar-resources is no object of requests and limits: {text[:200]}")
    return found
