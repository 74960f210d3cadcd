"""`toolpolicy run` as a user starts it, with and without a terminal."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.datapath.loopback import HANG_S
from tests.unit.top.terminal import Terminal

TOOLPOLICY = str(Path(sys.executable).parent / "toolpolicy")
CALLS = (
    "import os,urllib.request as u\n"
    "print('agent', os.environ['SSL_CERT_FILE'])\n"
    "for _ in range({times}): print(u.urlopen('http://127.0.0.1:{port}/v1/x').status)\n"
)


class Tool(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tool)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def policies(folder: Path, port: int, **tool: Any) -> str:
    get = {"name": "get", "server": "api", "match": {"path": "/v1/{name}"}} | tool
    document = {
        "apiVersion": "toolpolicy.dev/v1alpha1",
        "kind": "ToolPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "selector": {},
            "servers": [{"name": "api", "protocol": "HTTP", "url": f"http://127.0.0.1:{port}"}],
            "tools": [get],
        },
    }
    file = folder / "policy.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(file)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOOLPOLICY, "run", *arguments], capture_output=True, text=True, timeout=HANG_S, check=False
    )


def test_calls_come_through_and_a_signal_goes_on(tmp_path: Path, port: int) -> None:
    script = CALLS.format(times=3, port=port) + (
        "import signal,sys\n"
        "signal.signal(signal.SIGHUP, lambda *_: sys.exit(9))\n"
        "print('up', flush=True)\n"
        "while True: signal.pause()\n"
    )
    log = tmp_path / "calls.log"
    command = [TOOLPOLICY, "run", "--policies", policies(tmp_path, port), "--log", str(log)]
    with subprocess.Popen(
        [*command, "--", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        bundle = Path(process.stdout.readline().split()[1])
        assert [process.stdout.readline() for _ in range(4)] == ["200\n"] * 3 + ["up\n"]
        assert bundle.stat().st_mode & 0o777 == 0o644
        assert bundle.parent.stat().st_mode & 0o777 == 0o700
        os.kill(process.pid, signal.SIGHUP)
        _, said = process.communicate(timeout=HANG_S)
    assert process.returncode == 9, said
    assert not bundle.parent.exists()
    assert said.splitlines()[0] == "toolpolicy: 3 calls, 0 failed, 0 refused"
    assert log.read_text(encoding="utf-8").count('"event":"call"') == 3


def test_a_live_table_below_what_the_command_writes(tmp_path: Path, port: int) -> None:
    """The command has the terminal to itself, and Ctrl-C reaches it once."""
    script = CALLS.format(times=2, port=port) + (
        "import sys,time\n"
        "print('tty', sys.stdout.isatty(), flush=True)\n"
        "for n in range(30): print('line', n, flush=True)\n"
        "try: time.sleep(60)\n"
        "except KeyboardInterrupt: print('interrupted', flush=True)\n"
        "time.sleep(0.1)\n"
        "raise SystemExit(4)\n"
    )
    file = policies(tmp_path, port)
    terminal = Terminal([TOOLPOLICY, "run", "--policies", file, "--", sys.executable, "-c", script], 80, 24)
    lines = terminal.until(
        lambda lines: any(re.match(r"get +Closed +2 ", line) for line in lines) and "line 29" in lines
    )
    rule = next(index for index, line in enumerate(lines) if " toolpolicy " in line)
    above = [line for line in lines[:rule] if line]
    assert above == [f"line {n}" for n in range(30 - len(above), 30)]
    assert lines[rule + 1].split()[:2] == ["TOOL", "STATE"]
    terminal.type(b"\x03")
    assert terminal.ended() == 4
    left = [line for line in terminal.lines() if line]
    assert left[-1].endswith("interrupted")
    assert not any("TOOL" in line for line in left)


def test_what_cannot_be_run(tmp_path: Path, port: int) -> None:
    done = run("--policies", policies(tmp_path, port), "--", "no-such-command")
    said = "toolpolicy run: no-such-command: there is no such command\n"
    assert (done.returncode, done.stderr) == (127, said)
    done = run("--policies", str(tmp_path / "none.yaml"), "--", "true")
    assert (done.returncode, "none.yaml" in done.stderr) == (2, True)
    done = run("--policies", policies(tmp_path, port, name="no name"), "--", "echo", "started")
    assert (done.returncode, done.stdout) == (2, "")
    assert "spec.tools[0].name" in done.stderr
