"""Alertmanager itself: the example's routes and inhibitions, and the silences of the runbooks."""

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from localcluster import packages
from localcluster.ports import free_port
from tests.commands import ROOT, failures, of_docs
from tests.integration.test_sidecar_process import request

pytestmark = pytest.mark.integration
EXAMPLE = ROOT / "examples" / "alertmanager.yaml"
TOOL = {"namespace": "support", "policy": "support/agent", "server": "kb", "tool": "search"}
FAILING = {"alertname": "ToolpolicyToolFailing", "severity": "critical", **TOOL}


class Alertmanager(NamedTuple):
    url: str
    folder: Path
    notified: list[dict[str, Any]]
    """What the receivers got."""

    def fire(self, *alerts: dict[str, str]) -> None:
        body = json.dumps([{"labels": each} for each in alerts]).encode()
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.url}/api/v2/alerts", body, headers)  # noqa: S310 -- loopback, http
        urllib.request.urlopen(asked, timeout=5).close()  # noqa: S310 -- the same

    def told(self) -> list[tuple[str, set[str]]]:
        """Receiver and alerts of each notification."""
        return [
            (each["receiver"], {alert["labels"]["alertname"] for alert in each["alerts"]})
            for each in self.notified
        ]


@pytest.fixture(scope="module")
def debian() -> Path:
    """The package's files."""
    return packages.unpacked("prometheus-alertmanager")


def binary(debian: Path, name: str) -> str:
    return str(debian / "usr" / "bin" / name)


# Debian's reads its templates from /usr/share, and it is only unpacked: it gets a /usr/share of its own.
START = """
mount -t tmpfs none /usr/share && mkdir /usr/share/prometheus
cp -r "$0/usr/share/prometheus/alertmanager" /usr/share/prometheus
exec "$0/usr/bin/prometheus-alertmanager" "$@"
"""


@pytest.fixture
def alertmanager(debian: Path, tmp_path: Path) -> Iterator[Alertmanager]:
    """The example, with receivers that tell us, and without the half minute in which a group is waited for."""
    notified: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            notified.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 -- http.server's name
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        config = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
        config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
        for receiver in config["receivers"]:
            receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:{server.server_port}/"}]
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        address = f"127.0.0.1:{free_port()}"
        flags = [
            f"--config.file={tmp_path / 'config.yaml'}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-ec", START, str(debian), *flags], stdout=log, stderr=log
            )
        try:
            until_ready(f"http://{address}/-/ready")
            yield Alertmanager(f"http://{address}", tmp_path, notified)
        finally:
            process.terminate()
            process.wait(timeout=20)
            server.shutdown()
            thread.join()


def until_ready(url: str) -> None:
    ends = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 -- loopback, http
        except OSError:
            assert time.monotonic() < ends
            time.sleep(0.1)
        else:
            return


def until_told(alertmanager: Alertmanager, count: int) -> None:
    ends = time.monotonic() + 30
    while len(alertmanager.notified) < count:
        assert time.monotonic() < ends, alertmanager.told()
        time.sleep(0.1)


def test_the_example_is_one(debian: Path) -> None:
    done = subprocess.run(
        [binary(debian, "amtool"), "check-config", str(EXAMPLE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    routed = {
        severity: subprocess.run(
            [
                *(binary(debian, "amtool"), "config", "routes", "test", f"--config.file={EXAMPLE}"),
                *("alertname=ToolpolicyToolFailing", f"severity={severity}"),
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for severity in ("critical", "warning")
    }
    assert routed == {"critical": "pager", "warning": "tickets"}


def test_one_broken_upstream_pages_once(alertmanager: Alertmanager) -> None:
    burning = {"alertname": "ToolpolicyBudgetBurnsFast", "severity": "critical", "objective": "availability"}
    milder = [
        {**TOOL, **burning},
        {**TOOL, **burning, "alertname": "ToolpolicyBudgetBurns", "severity": "warning"},
        {**TOOL, "alertname": "ToolpolicyCircuitOpen", "severity": "warning", "tool": "other"},
        {**TOOL, "alertname": "ToolpolicyToolErrors", "severity": "warning", "tool": "third"},
    ]
    second = {**FAILING, "tool": "another"}
    alertmanager.fire(FAILING, second, *milder)
    # Of another policy, so that the pager is known to be through with the first.
    elsewhere = {**FAILING, "policy": "support/elsewhere"}
    until_told(alertmanager, 1)
    alertmanager.fire({**milder[3], "policy": "support/quiet"}, elsewhere)
    until_told(alertmanager, 3)
    assert sorted(alertmanager.told()) == [
        ("pager", {"ToolpolicyToolFailing"}),
        ("pager", {"ToolpolicyToolFailing"}),
        ("tickets", {"ToolpolicyToolErrors"}),
    ]
    assert sorted(len(each["alerts"]) for each in alertmanager.notified) == [1, 1, 2]


def test_without_a_leader_nothing_that_it_tells_is_news(alertmanager: Alertmanager) -> None:
    alertmanager.fire(
        {"alertname": "ToolpolicyOperatorNoLeader", "severity": "critical"},
        {"alertname": "ToolpolicySidecarDisconnected", "severity": "warning", "policy": "support/agent"},
        {"alertname": "ToolpolicyWatchMissed", "severity": "warning"},
    )
    until_told(alertmanager, 2)
    assert sorted(alertmanager.told()) == [
        ("pager", {"ToolpolicyOperatorNoLeader"}),
        ("tickets", {"ToolpolicyWatchMissed"}),
    ]


def test_the_silences_of_the_runbooks(alertmanager: Alertmanager, debian: Path) -> None:
    settings = alertmanager.folder / ".config" / "prometheus"  # Debian's place for it
    settings.mkdir(parents=True)
    (settings / "amtool.yml").write_text(f"alertmanager.url: {alertmanager.url}\n", encoding="utf-8")
    environment = {
        "HOME": str(alertmanager.folder),
        "PATH": f"{debian}/usr/bin:/usr/bin:/bin",
        "USER": "alice",
    }
    silences = [each for each in of_docs() if each.kind == "alertmanager"]
    assert failures(silences, {"NS": "support", "NAME": "agent", "TOOL": "search"}, environment) == []
    _, answer = request(f"{alertmanager.url}/api/v2/silences")
    matchers = [matcher for each in json.loads(answer) for matcher in each["matchers"]]
    made = {matcher["value"] for matcher in matchers if matcher["name"] == "alertname"}
    assert made == {each.page for each in silences}
