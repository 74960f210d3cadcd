"""A real Prometheus, Debian's: scrapes a cluster as the chart's PodMonitors would, evaluates the chart's rules."""

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from localcluster import packages
from localcluster.kube import Kube
from localcluster.paths import ROOT
from localcluster.ports import free_port
from localcluster.trouble import Trouble

RULES = ROOT / "charts" / "toolpolicy" / "files" / "alerts.yaml"
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?P<before>\[|\bfor: )(?P<count>\d+)(?P<unit>[smhd])(?P<after>\]|$)", re.MULTILINE)
_PER_WINDOW = re.compile(r"(?<=>= 5 / )\d+")
"""At least five calls in a window, as a rate: the window's seconds stand there once more."""
_METRICS_PORTS = ("tp-metrics", "metrics")
"""Of sidecars; of operator and webhook."""
READY_WITHIN_S = 30.0


class NotDivisible(ValueError):  # noqa: N818 -- a verdict on input
    """A window would not last whole seconds."""


def faster(rules: str, factor: int) -> str:
    """The same rules, as text, with every range and every `for` divided by `factor`: 5m by 30 is 10s. Thresholds stay:
    five calls in a window are five calls in the shorter one. Names (`…:rate5m`) stay too, so that dashboards fit."""

    def shorter(seconds: int) -> int:
        if seconds % factor:
            raise NotDivisible(
                f"a window of {seconds} s has no whole seconds when it is {factor} times faster"
            )
        return seconds // factor

    def duration(found: re.Match[str]) -> str:
        seconds = int(found["count"]) * _UNITS_S[found["unit"]]
        return f"{found['before']}{shorter(seconds)}s{found['after']}"

    return _PER_WINDOW.sub(lambda found: str(shorter(int(found[0]))), _DURATION.sub(duration, rules))


class Series(NamedTuple):
    """One line of a graph: Unix seconds and values."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class Prometheus:
    """One that runs. `address` begins with http://."""

    def __init__(self, address: str) -> None:
        self.address = address

    def query(self, expr: str) -> list[Series]:
        """Its value now."""
        found = self._data("query", query=expr)["result"]
        return [Series(each["metric"], [_point(each["value"])]) for each in found]

    def range(self, expr: str, start: float, end: float, step_s: float) -> list[Series]:
        """As a panel of Grafana asks. `start`, `end`: Unix seconds."""
        found = self._data("query_range", query=expr, start=start, end=end, step=step_s)["result"]
        return [Series(each["metric"], [_point(value) for value in each["values"]]) for each in found]

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes, with `health` and the last error."""
        found: list[dict[str, Any]] = self._data("targets", state="active")["activeTargets"]
        return found

    def quiet(self) -> bool:
        """All targets are up, and no rule is about to say anything. The first seconds are not."""
        targets = self.targets()
        up = bool(targets) and all(target["health"] == "up" for target in targets)
        return up and not self.query("ALERTS")

    def _data(self, what: str, **parameters: Any) -> Any:
        url = f"{self.address}/api/v1/{what}?{urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 -- our own address, always http
            return json.load(answer)["data"]


def _point(value: Sequence[Any]) -> tuple[float, float]:
    return float(value[0]), float(value[1])


def pods(kube: Kube) -> dict[str, Any]:
    """A scrape configuration: every pod that runs now and has a port for metrics, under the labels that a PodMonitor
    gives. Fixed, for Debian's Prometheus cannot watch a cluster."""
    return {
        "job_name": "pods",
        "static_configs": [
            {
                "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
                "labels": {
                    "namespace": pod["metadata"]["namespace"],
                    "pod": pod["metadata"]["name"],
                    "container": container["name"],
                },
            }
            for pod in json.loads(kube.kubectl("get", "pods", "-A", "-o", "json"))["items"]
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
            for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
            for port in container.get("ports", ())
            if port.get("name") in _METRICS_PORTS
        ],
    }


@contextmanager
def running(
    folder: Path, scrapes: Sequence[dict[str, Any]], *, rules: str, every_s: int = 1
) -> Iterator[Prometheus]:
    """Scrapes and evaluates each `every_s`; keeps its data in `folder`, which also has its log. Raises Trouble."""
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")
    each = f"{every_s}s"
    config = {
        "global": {"scrape_interval": each, "scrape_timeout": each, "evaluation_interval": each},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": list(scrapes),
    }
    (folder / "prometheus.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    binary = shutil.which("prometheus") or packages.unpacked("prometheus") / "usr" / "bin" / "prometheus"
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(binary),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _until_ready(f"http://{address}", process, folder / "prometheus.log")
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(timeout=20)


def _until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < ends and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/-/ready", timeout=5).close()  # noqa: S310 -- always http
            return
        time.sleep(0.1)
    raise Trouble(f"Prometheus is not ready: {log.read_text(errors='replace')[-1000:]}")


def firing(prometheus: Prometheus, since: float) -> list[Series]:
    """Every alert that has fired since then (Unix seconds), with the seconds at which it did, in order."""
    found = prometheus.range('ALERTS{alertstate="firing"}', since, time.time(), 1)
    return sorted(found, key=lambda each: each.points[0])
