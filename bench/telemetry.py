"""What telemetry costs, and that no receiver can make calls slower.

    python -m bench.telemetry [--rounds 5] [--seconds 2] [--rate 200]

One `toolpolicy sidecar` for each case, all of them started, called one after the other in rounds: first as fast as they
answer (CPU per call), then at a constant rate, latency counted from when a call was due (p50, p99). In the last column
the p99 beside that of the sidecar without telemetry; on a noisy machine, look at its spread by running this twice.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import uvloop

from bench.compare.machine import cpu_s, free_port, rss_mib, wait_for
from bench.data_path import CALL, POLICY, ToolServer, load, pin, sidecar

SLOW_S = 3.0


class Case(NamedTuple):
    name: str
    receiver: str | None
    environment: dict[str, str]


def sampled(ratio: float) -> dict[str, str]:
    return {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(ratio)}


CASES = (
    Case("off", None, {}),
    Case("traces 1 %", "good", sampled(0.01)),
    Case("traces 1 %, receiver hangs", "hangs", sampled(0.01)),
    Case("traces 1 %, receiver is slow", "slow", sampled(0.01)),
    Case("traces 1 %, receiver refuses", "refuses", sampled(0.01)),
    Case("traces 100 %", "good", sampled(1)),
    Case("traces 100 %, receiver hangs", "hangs", sampled(1)),
    Case("traces 1 %, logs", "good", sampled(0.01) | {"OTEL_LOGS_EXPORTER": "otlp"}),
)


class Receiver(asyncio.Protocol):
    """Takes any request that ends in this piece of it, after a while; None: never."""

    def __init__(self, after_s: float | None) -> None:
        self._after_s, self._left = after_s, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._left <= 0:
            head, _, _ = data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self._left = len(head) + 4 + length
        self._left -= len(data)
        if self._left <= 0 and self._after_s is not None:
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            asyncio.get_running_loop().call_later(self._after_s, self._transport.write, answer)


def servers(tool: int, receivers: dict[str, int]) -> None:
    pin(1)
    after_s = {"good": 0.0, "slow": SLOW_S, "hangs": None}

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_server(ToolServer, "127.0.0.1", tool)
        for name, wait_s in after_s.items():
            await loop.create_server(partial(Receiver, wait_s), "127.0.0.1", receivers[name])
        await asyncio.Event().wait()

    uvloop.run(main())


class Paced(asyncio.Protocol):
    """One connection; an answer is whole when nothing of its length is missing."""

    def __init__(self, free: "asyncio.Queue[Paced]", times: list[float]) -> None:
        self._free, self._times, self._left, self.due = free, times, 0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._free.put_nowait(self)

    def data_received(self, data: bytes) -> None:
        if self._left <= 0:
            head, _, _ = data.partition(b"\r\n\r\n")
            self._left = (
                len(head) + 4 + int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            )
        self._left -= len(data)
        if self._left <= 0:
            self._times.append(time.perf_counter() - self.due)
            self._free.put_nowait(self)


async def paced(port: int, path: str, rate: float, seconds: float) -> list[float]:
    """Seconds per call. Calls are due at a constant rate, whether or not the ones before them are answered."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nAccept: */*\r\n"
    )
    request = f"{head}Content-Length: {len(CALL)}\r\n\r\n".encode() + CALL
    loop, times = asyncio.get_running_loop(), list[float]()
    free: asyncio.Queue[Paced] = asyncio.Queue()
    for _ in range(16):
        await loop.create_connection(lambda: Paced(free, times), "127.0.0.1", port)
    clients = [await free.get() for _ in range(16)]
    for client in clients:
        free.put_nowait(client)
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        client = await free.get()
        client.due = due
        client.transport.write(request)
    while len(times) < int(rate * seconds):  # noqa: ASYNC110 -- the last answers
        await asyncio.sleep(0.01)
    for client in clients:
        client.transport.close()
    return times


@contextmanager
def running(case: Case, policies: Path, receivers: dict[str, int]) -> Iterator[tuple[int, int]]:
    """Port and pid."""
    own = dict(case.environment)
    if case.receiver is not None:
        own["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{receivers[case.receiver]}"
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OTEL_")}
    os.environ.update(own)
    port = free_port()
    try:
        with sidecar(policies, port) as pid:
            yield port, pid
    finally:
        for name in own:
            os.environ.pop(name, None)
        os.environ.update(before)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=200.0)
    options = parser.parse_args()
    tool = free_port()
    receivers = {
        name: free_port() for name in ("good", "slow", "hangs", "refuses")
    }  # nobody listens on the last one
    process = multiprocessing.get_context("spawn").Process(
        target=servers, args=(tool, receivers), daemon=True
    )
    process.start()
    wait_for(tool)
    pin(1)
    cpu: list[list[float]] = [[] for _ in CASES]
    times: list[list[float]] = [[] for _ in CASES]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        policies = Path(folder) / "policy.yaml"
        policies.write_text(POLICY.format(port=tool, redaction=""))
        started = [stack.enter_context(running(case, policies, receivers)) for case in CASES]
        for port, _ in started:
            uvloop.run(load(port, "/kb", 8, 0.5))
        for _ in range(options.rounds):
            for index, (port, pid) in enumerate(started):
                before = cpu_s(pid)
                count, _ = uvloop.run(load(port, "/kb", 8, options.seconds))
                cpu[index].append((cpu_s(pid) - before) / count * 1e6)
                times[index] += uvloop.run(paced(port, "/kb", options.rate, options.seconds))
        print(f"{'':32} {'CPU µs':>8} {'p50 ms':>8} {'p99 ms':>8} {'RSS MiB':>8} {'p99 / off':>10}")
        for case, own, latency, (_, pid) in zip(CASES, cpu, times, started, strict=True):
            p50, p99 = statistics.median(latency) * 1000, statistics.quantiles(latency, n=100)[98] * 1000
            off = statistics.quantiles(times[0], n=100)[98] * 1000
            row = f"{statistics.median(own):8.1f} {p50:8.2f} {p99:8.2f} {rss_mib(pid):8.1f} {p99 / off:10.2f}"
            print(f"{case.name:32} {row}", flush=True)
    process.terminate()


if __name__ == "__main__":
    main()
