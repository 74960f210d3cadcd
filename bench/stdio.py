"""What `toolpolicy stdio` adds: to a call over pipes, to the start of a server, and in memory."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

POLICY: dict[str, Any] = {
    "apiVersion": "toolpolicy.dev/v1alpha1",
    "kind": "ToolPolicy",
    "metadata": {"name": "p"},
    "spec": {
        "selector": {},
        "servers": [{"name": "echo", "protocol": "MCP", "stdio": {}}],
        "tools": [
            {
                "name": "search",
                "server": "echo",
                "timeout": {"total": "8s"},
                "circuitBreaker": {"consecutiveFailures": 3},
                "retry": {"idempotent": True},
            }
        ],
        "redaction": {"patterns": [{"name": "key", "regex": "sk-[a-z0-9]{8,}"}]},
    },
}
SERVER = (
    "import sys,json\n"
    "for line in sys.stdin:\n"
    " i=json.loads(line)['id']\n"
    " print(json.dumps({'jsonrpc':'2.0','id':i,'result':{'content':[{'type':'text','text':'x'*500}]}}),flush=True)\n"
)
CALLS = 2000


def measure(name: str, command: list[str]) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        took_ms = []
        for identifier in range(CALLS):
            params = {"name": "search", "arguments": {"query": "where is my order?"}}
            message = {"jsonrpc": "2.0", "id": identifier, "method": "tools/call", "params": params}
            began = time.perf_counter()
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdout.readline()
            took_ms.append((time.perf_counter() - began) * 1000)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        rss_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        process.stdin.close()
    p50, p99 = statistics.median(took_ms[1:]), statistics.quantiles(took_ms[1:], n=100)[98]
    print(
        f"{name}: first answer after {took_ms[0]:.0f} ms, then p50 {p50 * 1000:.0f} µs, p99 {p99 * 1000:.0f} µs;"
        f" {cpu_s:.2f} s of CPU for {CALLS} calls and the start; RSS {rss_kb / 1024:.0f} MB"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.yaml"
        file.write_text(json.dumps(POLICY), encoding="utf-8")
        server = [sys.executable, "-c", SERVER]
        shim = [sys.executable, "-m", "toolpolicy_api.command", "stdio", "--server", "echo"]
        measure("direct", server)
        measure("toolpolicy stdio --policies", [*shim, "--policies", str(file), "--", *server])


if __name__ == "__main__":
    main()
