"""How an operator process is told what it is and where it runs: flags, each with an environment variable."""

import argparse
import os
from typing import NamedTuple

from toolpolicy_operator.slo.rule import RUNBOOKS, Style


class Settings(NamedTuple):
    """Names of this release's objects in the cluster; nothing is guessed."""

    namespace: str
    pod: str
    release: str
    owner: str
    certificates: str
    channel_port: int
    health_port: int
    log_level: str
    resync_s: float
    rules: Style | None
    """None: no PrometheusRules are kept."""

    @property
    def service(self) -> str:
        return f"{self.release}-operator"

    @property
    def webhook_service(self) -> str:
        return f"{self.release}-webhook"


def parse(argv: list[str]) -> Settings:
    """Exits with 2 and one clear line when something needed is missing."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy operator", description="Runs one replica of the operator."
    )

    def flag(name: str, text: str, default: str | None = None) -> None:
        variable = f"TOOLPOLICY_{name.upper().replace('-', '_')}"
        given = os.environ.get(variable, default)
        parser.add_argument(
            f"--{name}",
            default=given,
            required=given is None,
            help=f"{text} (also {variable}; default {default})",
        )

    flag("namespace", "namespace of the release")
    flag("pod", "name of this pod, to hold the Lease as")
    flag("release", "prefix of the release's Services, Secrets and webhook configurations", "toolpolicy")
    flag("owner", "ClusterRole whose deletion takes everything along that the operator made", "")
    flag("certificates", "own: make and rotate them; given: Secrets are made by cert-manager", "own")
    flag("channel-port", "where sidecars connect", "8443")
    flag("health-port", "metrics and probes", "9090")
    flag("log-level", "debug, info, warning or error", "info")
    flag("resync", "seconds between full lists, since a watch can end unnoticed", "60")
    flag("rules", "on: keep a PrometheusRule for each policy with an slo; off", "off")
    flag("rule-labels", "labels of these, such as release=prometheus,team=agents", "")
    flag("runbooks", "where the pages of their alerts are", RUNBOOKS)
    options = parser.parse_args(argv)
    if options.rules not in {"on", "off"}:
        parser.error(f"--rules is on or off, not {options.rules!r}")
    if options.certificates not in {"own", "given"}:
        parser.error(f"--certificates is own or given, not {options.certificates!r}")
    try:
        ports = int(options.channel_port), int(options.health_port)
        resync_s = float(options.resync)
        labels = _labels(options.rule_labels)
    except ValueError as wrong:
        parser.error(str(wrong))
    return Settings(
        options.namespace,
        options.pod,
        options.release,
        options.owner,
        options.certificates,
        *ports,
        options.log_level,
        resync_s,
        Style(labels, options.runbooks) if options.rules == "on" else None,
    )


def _labels(text: str) -> dict[str, str]:
    """Raises ValueError."""
    labels = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not (key and equals):
            raise ValueError(f"--rule-labels is KEY=VALUE,KEY=VALUE, not {text!r}")
        labels[key] = value
    return labels
