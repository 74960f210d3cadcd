"""The sidecar as a process: standalone start, reload, bad input, drain; figures of start-up and memory are printed."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.ports import free_port
from tests.measured import measured
from toolpolicy_api import snapshot
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.config import bootstrap, persisted
from toolpolicy_sidecar.interception.authority import Authority

POLICY: dict[str, Any] = {
    "apiVersion": "toolpolicy.dev/v1alpha1",
    "kind": "ToolPolicy",
    "metadata": {"name": "p"},
    "spec": {
        "selector": {"matchLabels": {"nobody": "asks"}},
        "servers": [{"name": "api", "protocol": "HTTP", "url": "http://127.0.0.1:9"}],
        "tools": [{"name": "get", "server": "api", "match": {"path": "/x"}}],
    },
}


def request(url: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    asked = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310 -- loopback, http
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310 -- the same
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Process:
    def __init__(self, folder: Path, *flags: str) -> None:
        self.reverse, self.admin, self.metrics = (free_port() for _ in range(3))
        addresses = {"reverse": self.reverse, "admin": self.admin, "metrics": self.metrics}
        command = [sys.executable, "-m", "toolpolicy_api.command", "sidecar", *flags]
        command += [f"--{name}=127.0.0.1:{port}" for name, port in addresses.items()]
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]

    def started(self) -> None:
        ends = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                if request(f"http://127.0.0.1:{self.metrics}/startupz")[0] == 200:
                    return
            assert time.monotonic() < ends, self._log.read_text(encoding="utf-8")
            assert self.process.poll() is None, self._log.read_text(encoding="utf-8")
            time.sleep(0.02)

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


def resident_mib(process: Process) -> float:
    status = Path(f"/proc/{process.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found
    return int(found[1]) / 1024


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    path = tmp_path / "policies.yaml"
    path.write_text(yaml.safe_dump(POLICY), encoding="utf-8")
    return path


@pytest.fixture
def running(policies: Path, tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path, f"--policies={policies}")
    process.started()
    yield process
    process.end()


def until(probe: Any, what: str) -> None:
    ends = time.monotonic() + 30
    while not probe():
        assert time.monotonic() < ends, what
        time.sleep(0.05)


def replace(path: Path, document: object) -> None:
    """At once: a file that is half written is a bad configuration, too."""
    new = path.with_suffix(".new")
    new.write_text(yaml.safe_dump(document), encoding="utf-8")
    new.replace(path)


def test_start_serve_and_term(policies: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    process = Process(tmp_path, f"--policies={policies}")
    process.started()
    status, body = request(f"http://127.0.0.1:{process.reverse}/api/x")
    seconds = time.monotonic() - began
    assert (status, json.loads(body)["reason"]) == (502, "ConnectRefused")
    measured(
        f"standalone: first answer after {seconds * 1000:.0f} ms, {resident_mib(process):.0f} MiB resident"
    )
    assert process.end() == 0
    events = [entry["event"] for entry in process.log()]
    assert events[:2] == ["config applied", "serving"]
    assert events[-1] == "stopped"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_a_forward_proxy_that_looks_into_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that curl has is the environment and a bundle of before there was an https server; the policy says that the
    tool is switched off."""
    world = Authority(SystemClock())
    (tmp_path / "world.pem").write_bytes(world.certificate)
    policies = tmp_path / "policies.yaml"
    policies.write_text(yaml.safe_dump(POLICY), encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "world.pem"))
    port, bundle = free_port(), tmp_path / "bundle.pem"
    began = time.monotonic()
    process = Process(
        tmp_path, f"--policies={policies}", f"--forward=127.0.0.1:{port}", f"--trust-bundle={bundle}"
    )
    process.started()
    seconds = time.monotonic() - began
    assert bundle.read_bytes().startswith(world.certificate.rstrip())
    before = resident_mib(process)
    policy = json.loads(json.dumps(POLICY))
    policy["spec"]["servers"][0]["url"] = f"https://localhost:{free_port()}"
    policy["spec"]["tools"][0]["enabled"] = False
    replace(policies, policy)
    until(lambda: sum(entry["event"] == "config applied" for entry in process.log()) == 2, "it is picked up")
    environment = {**os.environ, "HTTPS_PROXY": f"http://127.0.0.1:{port}", "CURL_CA_BUNDLE": str(bundle)}
    url = f"{policy['spec']['servers'][0]['url']}/x"
    answer = subprocess.run(
        ["curl", "-sS", "-m", "20", "--noproxy", "", url], env=environment, capture_output=True, check=True
    )
    assert json.loads(answer.stdout)["reason"] == "ToolDisabled"
    measured(
        f"with a trust bundle: started after {seconds * 1000:.0f} ms, {before:.0f} MiB resident;"
        f" {resident_mib(process):.0f} MiB with intercepted TLS"
    )
    text = request(f"http://127.0.0.1:{process.metrics}/metrics")[1]
    assert "toolpolicy_intercepted_connections_total 1.0" in text
    assert process.end() == 0


def test_a_change_is_picked_up_and_a_bad_one_is_not(running: Process, policies: Path) -> None:
    def hash_in_force() -> str:
        return str(json.loads(request(f"http://127.0.0.1:{running.admin}/admin/config")[1])["hash"])

    first = hash_in_force()
    changed = json.loads(json.dumps(POLICY))
    changed["spec"]["tools"][0]["name"] = "renamed"
    replace(policies, changed)
    until(lambda: hash_in_force() != first, "the change is in force")
    second = hash_in_force()
    changed["spec"]["tools"][0]["server"] = "nowhere"
    replace(policies, changed)
    until(
        lambda: any("no server 'nowhere'" in str(entry.get("why")) for entry in running.log()),
        "it is refused",
    )
    assert hash_in_force() == second
    assert request(f"http://127.0.0.1:{running.metrics}/readyz")[0] == 200
    assert "toolpolicy_config_nacks_total 1" in request(f"http://127.0.0.1:{running.metrics}/metrics")[1]


@pytest.mark.parametrize("content", ["", "a: [", "kind: Pod", None])
def test_a_bad_first_configuration_ends_it_with_words(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "p.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "toolpolicy_api.command",
            "sidecar",
            f"--policies={path}",
            "--reverse=127.0.0.1:0",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TOOLPOLICY_ADMIN": "127.0.0.1:0", "TOOLPOLICY_METRICS": "127.0.0.1:0"},
    )
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "give either --policies"),
        (["--policies=x", "--operator=wss://y"], "give either --policies"),
        (["--policies=x", "--admin=0.0.0.0:1"], "must be on loopback"),
        (["--policies=x", "--reverse=nowhere"], "no HOST:PORT"),
        (["--policies=x", "--forward=0.0.0.0:1"], "must be on loopback"),
        (["--policies=x", "--trust-bundle=y"], "give --forward, too"),
        (["--operator=wss://x", "--cold-start=Maybe"], "is Deny or Passthrough, not 'Maybe'"),
        (["--operator=wss://x", "--cold-start=Passthrough"], "give --forward, too"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(flags: list[str], words: str) -> None:
    command = [sys.executable, "-m", "toolpolicy_api.command", "sidecar", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr


def test_the_admin_api(running: Process) -> None:
    base = f"http://127.0.0.1:{running.admin}/admin"
    status, body = request(f"{base}/tools/get/disable?for=30m&reason=incident", "POST")
    assert (status, json.loads(body)["state"]) == (200, "Disabled")
    assert json.loads(request(f"http://127.0.0.1:{running.reverse}/api/x")[1])["reason"] == "ToolDisabled"
    circuits = json.loads(request(f"{base}/circuits")[1])["circuits"]
    assert circuits[0]["override"]["reason"] == "incident"
    assert json.loads(request(f"{base}/tools/get/enable", "POST")[1])["state"] == "Closed"
    assert json.loads(request(f"{base}/tools/get/reset", "POST")[1])["state"] == "Closed"
    status, body = request(f"{base}/tools/nothing/disable", "POST")
    assert (status, json.loads(body)["error"]) == (404, "no tool 'nothing'; known: get, api/*")
    assert request(f"{base}/tools/get/disable?for=soon", "POST")[0] == 400


@pytest.mark.parametrize("headers", [{"Host": "evil.example.com"}, {"Origin": "https://evil.example.com"}])
def test_a_web_page_cannot_use_the_admin_api(running: Process, headers: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{running.admin}/admin/tools/get/disable"
    assert request(url, "POST", **headers)[0] == 403


def test_unknown_names_make_no_new_series(running: Process) -> None:
    def series() -> int:
        return request(f"http://127.0.0.1:{running.metrics}/metrics")[1].count("\n")

    for name in ("a", "b"):
        request(f"http://127.0.0.1:{running.reverse}/api/{name}")
        request(f"http://127.0.0.1:{running.reverse}/{name}/x")
    before = series()
    for number in range(300):
        request(f"http://127.0.0.1:{running.reverse}/api/unknown-{number}")
        request(f"http://127.0.0.1:{running.reverse}/unknown-{number}/x")
    assert series() == before


def test_the_last_good_snapshot_survives_and_a_spoilt_one_is_ignored(tmp_path: Path) -> None:
    data = snapshot.encode(snapshot.Snapshot())
    assert persisted.load(tmp_path) is None
    persisted.save(tmp_path, data)
    assert persisted.load(tmp_path) == data
    kept = tmp_path / persisted.NAME
    for spoilt in (kept.read_bytes()[:-1], b"", b"\xff\xfe", kept.read_bytes() + b" "):
        kept.write_bytes(spoilt)
        assert persisted.load(tmp_path) is None


def test_labels_of_the_downward_api() -> None:
    assert bootstrap.parse_labels('app="agent"\nnote="a \\"b\\" \\u00e9"\n') == {
        "app": "agent",
        "note": 'a "b" é',
    }
    for bad in ("app=agent", "app"):
        with pytest.raises(bootstrap.Unusable):
            bootstrap.parse_labels(bad)


def test_without_any_configuration_calls_are_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x", encoding="utf-8")
    flags = [f"--operator=wss://127.0.0.1:{free_port()}", f"--token-file={tmp_path / 'token'}"]
    flags += [f"--ca-file={tmp_path / 'none'}", f"--state-dir={tmp_path}", f"--bootstrap-dir={tmp_path}"]
    process = Process(tmp_path, *flags)
    try:
        process.started()
        status, body = request(f"http://127.0.0.1:{process.reverse}/api/x")
        assert (status, json.loads(body)["reason"]) == (503, "NoPolicy")
        # The kubelet brings the ConfigMap a little later.
        good = snapshot.encode(snapshot.Bootstrap())
        (tmp_path / bootstrap.POLICIES).write_bytes(good)
        until(
            lambda: (
                json.loads(request(f"http://127.0.0.1:{process.reverse}/api/x")[1])["reason"]
                == "UnknownServer"
            ),
            "the bootstrap is taken",
        )
    finally:
        assert process.end() == 0
