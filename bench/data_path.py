"""Requests per second through the sidecar, beside the same client and tool server without it, in one run.

One process each for tool server, sidecar and client; all on loopback; bounded. Figures are of this machine, now.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CALLS = 6000
CONNECTIONS = 32
BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "t", "arguments": {"q": "x" * 150}},
    }
)
ANSWER = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "y" * 700}]}})

SERVER = f"""
import asyncio, uvloop
A = {ANSWER!r}.encode()
R = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(A), A)
class P(asyncio.Protocol):
    def connection_made(self, t): self.t, self.b = t, b""
    def data_received(self, d):
        self.b += d
        while (i := self.b.find(b"\\r\\n\\r\\n")) >= 0:
            n = int(self.b[:i].lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
            if len(self.b) < i + 4 + n: return
            self.b = self.b[i + 4 + n:]
            self.t.write(R)
async def main():
    s = await asyncio.get_running_loop().create_server(P, "127.0.0.1", PORT)
    await s.serve_forever()
uvloop.run(main())
"""


def policies(port: int) -> str:
    return json.dumps(
        {
            "apiVersion": "toolpolicy.dev/v1alpha1",
            "kind": "ToolPolicy",
            "metadata": {"name": "bench"},
            "spec": {
                "selector": {},
                "servers": [{"name": "kb", "protocol": "MCP", "url": f"http://127.0.0.1:{port}/mcp"}],
                "tools": [{"name": "t", "server": "kb", "timeout": {"total": "5s"}, "circuitBreaker": {}}],
                "redaction": {"detectors": ["Email"]},
            },
        }
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def load(port: int, path: str) -> tuple[float, list[float]]:
    """Seconds for all calls, and each call's milliseconds."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    request = (head + BODY).encode()
    times: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(CALLS // CONNECTIONS):
            started = time.perf_counter()
            writer.write(request)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            times.append((time.perf_counter() - started) * 1000)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return time.perf_counter() - began, sorted(times)


def ready(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    tools, reverse = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.yaml"
        policy.write_text(policies(tools), encoding="utf-8")
        server = subprocess.Popen([sys.executable, "-c", SERVER.replace("PORT", str(tools))])
        flags = [f"--policies={policy}", f"--reverse=127.0.0.1:{reverse}", "--log-level=error"]
        flags += ["--admin=127.0.0.1:0", "--metrics=127.0.0.1:0"]
        sidecar = subprocess.Popen([sys.executable, "-m", "toolpolicy_api.command", "sidecar", *flags])
        try:
            ready(tools)
            ready(reverse)
            for name, port, path in (("direct", tools, "/mcp"), ("through the sidecar", reverse, "/kb")):
                asyncio.run(load(port, path))  # warm
                before = cpu_s(sidecar.pid)
                seconds, times = asyncio.run(load(port, path))
                spent = (cpu_s(sidecar.pid) - before) / len(times) * 1e6
                print(
                    f"{name:20} {len(times) / seconds:7.0f} req/s   p50 {times[len(times) // 2]:.2f} ms   "
                    f"p99 {times[int(len(times) * 0.99)]:.2f} ms   sidecar CPU {spent:.0f} µs/req"
                )
            status = Path(f"/proc/{sidecar.pid}/status").read_text(encoding="ascii")
            print("sidecar", next(line for line in status.splitlines() if line.startswith("VmRSS")))
        finally:
            for process in (sidecar, server):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
