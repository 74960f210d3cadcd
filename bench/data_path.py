"""What the sidecar costs: requests per second and CPU per request, direct and through, on loopback.

    python -m bench.data_path [--seconds 3] [--connections 32]

Three processes of our own: a tool server that answers at once (core 1), a client that keeps its connections
busy (core 1), and the real `toolpolicy sidecar` (core 0, alone). Figures of one run compare with each other,
not with those of another machine.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import uvloop

from bench.compare.machine import cpu_s, free_port, rss_mib, wait_for

ARTICLE = "Reset your password under Settings, Security. " * 20
RESULT = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": ARTICLE}], "isError": False}}
).encode()
CALL = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "search", "arguments": {"query": "how do I reset my password", "limit": 5}},
    }
).encode()
POLICY = """
apiVersion: toolpolicy.dev/v1alpha1
kind: ToolPolicy
metadata: {{name: bench, namespace: bench}}
spec:
  selector: {{}}
  servers:
  - {{name: kb, protocol: MCP, url: "http://127.0.0.1:{port}/mcp"}}
  - {{name: api, protocol: HTTP, url: "http://127.0.0.1:{port}"}}
  defaults:
    timeout: {{total: 8s, attempt: 3s, connect: 1s}}
    circuitBreaker: {{consecutiveFailures: 5}}
  tools:
  - {{name: search, server: kb}}
  - {{name: ticket, server: api, match: {{methods: [POST], path: "/v1/tickets/{{id}}"}}}}
  {redaction}
"""
REDACTION = """redaction: {patterns: [{name: key, regex: "sk-[A-Za-z0-9]{20,}"}]}"""


class Case(NamedTuple):
    name: str
    path: str
    redacted: bool


CASES = (
    Case("HTTP", "/api/v1/tickets/1", redacted=False),
    Case("HTTP, redacted both ways", "/api/v1/tickets/1", redacted=True),
    Case("MCP", "/kb", redacted=False),
    Case("MCP, redacted both ways", "/kb", redacted=True),
)


class ToolServer(asyncio.Protocol):
    """Answers every request at once; a request is the end of its known body."""

    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(RESULT),
        RESULT,
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self.ANSWER * data.count(b"POST /"))


class Client(asyncio.Protocol):
    """One connection, one request at a time. `times` are seconds per request."""

    def __init__(self, request: bytes) -> None:
        self.request, self.times, self.running, self.bad = request, list[float](), True, 0
        self._left, self._started = 0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        if self._left <= 0:
            head, _, _ = data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.bad += not head.startswith(b"HTTP/1.1 200")
            self._left = len(head) + 4 + length
        self._left -= len(data)
        if self._left <= 0:
            self.times.append(time.perf_counter() - self._started)
            if self.running:
                self._next()
            else:
                self._transport.close()

    def _next(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(self.request)


def pin(core: int) -> None:
    os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


def tool_server(port: int) -> None:
    pin(1)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(ToolServer, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(main())


async def calling(port: int, path: str, connections: int) -> list[Client]:
    """They go on until they are told to stop."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nAccept: */*\r\n"
    )
    request = f"{head}User-Agent: bench\r\nContent-Length: {len(CALL)}\r\n\r\n".encode() + CALL
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: Client(request), "127.0.0.1", port)
        clients.append(client)
    return clients


async def stop(clients: list[Client]) -> None:
    for client in clients:
        client.running = False
    await asyncio.sleep(0.2)
    bad = sum(client.bad for client in clients)
    if bad:
        raise SystemExit(f"{bad} answers were not 200")


async def load(port: int, path: str, connections: int, seconds: float) -> tuple[int, list[float]]:
    clients = await calling(port, path, connections)
    await asyncio.sleep(seconds)
    await stop(clients)
    return sum(len(client.times) for client in clients), [t for client in clients for t in client.times]


@contextmanager
def sidecar(
    policies: Path,
    reverse: int,
    *more: str,
    output: int | None = None,
    program: Sequence[str] | None = None,
) -> Iterator[int]:
    """Its pid. `more`: of its options. `output`: where its log goes, as of Popen. `program`: how toolpolicy is called,
    that of this environment by default."""
    addresses = [free_port(), free_port()]
    process = subprocess.Popen(
        [
            *(program or [str(Path(sys.executable).with_name("toolpolicy"))]),
            *(
                "sidecar",
                "--policies",
                policies,
                "--reverse",
                f"127.0.0.1:{reverse}",
                "--log-level",
                "error",
            ),
            *("--admin", f"127.0.0.1:{addresses[0]}", "--metrics", f"127.0.0.1:{addresses[1]}"),
            *more,
        ],
        stdout=output,
    )
    os.sched_setaffinity(process.pid, {0})
    try:
        wait_for(reverse)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    upstream = free_port()
    tool = multiprocessing.get_context("spawn").Process(target=tool_server, args=(upstream,), daemon=True)
    tool.start()
    wait_for(upstream)
    pin(1)
    print(f"{'':28} {'req/s':>8} {'CPU µs':>8} {'p50 ms':>8} {'p99 ms':>8} {'RSS MiB':>8}")
    count, times = uvloop.run(load(upstream, "/mcp", options.connections, options.seconds))
    row("direct", count, times, options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            policies = Path(folder) / "policy.yaml"
            policies.write_text(POLICY.format(port=upstream, redaction=REDACTION if case.redacted else ""))
            reverse = free_port()
            with sidecar(policies, reverse) as pid:
                uvloop.run(load(reverse, case.path, options.connections, 0.5))
                before = cpu_s(pid)
                count, times = uvloop.run(load(reverse, case.path, options.connections, options.seconds))
                row(case.name, count, times, options.seconds, cpu_s(pid) - before, rss_mib(pid))
    tool.terminate()


def row(  # noqa: PLR0917 -- one per column
    name: str,
    count: int,
    times: list[float],
    seconds: float,
    cpu: float | None = None,
    rss: float | None = None,
) -> None:
    p50, p99 = statistics.median(times) * 1000, statistics.quantiles(times, n=100)[98] * 1000
    own = "" if cpu is None or rss is None else f"{cpu / count * 1e6:8.1f}"
    last = "" if rss is None else f"{rss:8.1f}"
    print(f"{name:28} {count / seconds:8.0f} {own:>8} {p50:8.2f} {p99:8.2f} {last:>8}", flush=True)


if __name__ == "__main__":
    main()
