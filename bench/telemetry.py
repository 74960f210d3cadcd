"""What telemetry costs: CPU per call, and memory. What receivers do to latency is shown by `bench.receivers`.

    python -m bench.telemetry [--starts 6] [--rounds 3]

One `toolpolicy sidecar` for each case, out of the image, called one after the other in slices, each time in another
order, as fast as they answer. CPU is what the kernel has counted for the sidecar's process: the lower quartile of its
slices, since what else the machine does only ever adds to it. That changes from second to second, so each slice is
compared with the one without telemetry that was made next to it, and the median is shown. Where a process happens to
lie in memory makes it up to a tenth faster or slower than another one that does the same, so all of them are started a
few times, and means over these are shown. A sidecar is done when its core is, so 10 % more of it are 9 % less
throughput.

Without telemetry: calls are counted, but no line is written and nothing leaves. Everything: a line for each call,
traces, sessions by a header. What a scrape costs is shown apart: there are few of them, however many calls.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import uvloop

from bench.compare import shipped
from bench.compare.machine import free_port, rss_mib, wait_for
from bench.data_path import POLICY, Client, ToolServer, calling, load, pin, sidecar, stop

SLOW_S = 3.0


class Case(NamedTuple):
    name: str
    receiver: str | None
    environment: dict[str, str]
    everything: bool = False
    """Log lines and sessions too."""


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
    Case("traces 1 %, logs by OTLP", "good", sampled(0.01) | {"OTEL_LOGS_EXPORTER": "otlp"}),
    Case("everything, traces 1 %", "good", sampled(0.01), everything=True),
    Case("everything, traces 1 %, hangs", "hangs", sampled(0.01), everything=True),
)
SLICES, SLICE_S = 6, 0.2
WARM_S = 0.05
"""Another process had the core before."""
SCRAPES = 20


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
            asyncio.get_running_loop().call_later(self._after_s, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


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


class Place(NamedTuple):
    """What all sidecars have in common: how they are called, their policies, and the ports of receivers by name."""

    program: Sequence[str]
    policies: Path
    receivers: dict[str, int]


@contextmanager
def place() -> Iterator[Place]:
    """With the tool and the receivers running, and this process beside them."""
    tool = free_port()
    # Nobody listens on the last one.
    receivers = {name: free_port() for name in ("good", "slow", "hangs", "refuses")}
    process = multiprocessing.get_context("spawn").Process(
        target=servers, args=(tool, receivers), daemon=True
    )
    process.start()
    wait_for(tool)
    pin(1)
    try:
        with shipped.program() as program, tempfile.TemporaryDirectory() as folder:
            policies = Path(folder) / "policy.yaml"
            policies.write_text(POLICY.format(port=tool, redaction=""))
            yield Place(program, policies, receivers)
    finally:
        process.terminate()


class Started(NamedTuple):
    case: Case
    port: int
    metrics: int
    pid: int


@contextmanager
def running(case: Case, at: Place) -> Iterator[Started]:
    own = dict(case.environment)
    if case.receiver is not None:
        own["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{at.receivers[case.receiver]}"
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OTEL_")}
    os.environ.update(own)
    port, metrics = free_port(), free_port()
    more = ["--metrics", f"127.0.0.1:{metrics}"]
    if case.everything:
        more += ["--log-level", "info", "--session-header", "Content-Type"]
    try:
        with sidecar(at.policies, port, *more, output=subprocess.DEVNULL, program=at.program) as pid:
            yield Started(case, port, metrics, pid)
    finally:
        for name in own:
            os.environ.pop(name, None)
        os.environ.update(before)


async def scrape(port: int) -> None:
    """As Prometheus does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
    writer.write(f"{head}Accept: application/openmetrics-text;version=1.0.0\r\n\r\n".encode())
    await reader.read(-1)
    writer.close()


def on_cpu_s(pid: int) -> float:
    """Of all threads that there are. Finer than the ticks of /proc/PID/stat, for slices that are short."""
    total_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # it has just ended
            total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e9


class Round(NamedTuple):
    """Of one case."""

    cpu_us: list[float]
    """Per call, of each slice; 0: there was none, somebody else had the machine."""
    rss_mib: float


async def slice_us(started: Started) -> float:
    clients = await calling(started.port, "/kb", 8)
    await asyncio.sleep(WARM_S)
    before_s, before = on_cpu_s(started.pid), answered(clients)
    await asyncio.sleep(SLICE_S)
    used_s, count = on_cpu_s(started.pid) - before_s, answered(clients) - before
    await stop(clients)
    return used_s / count * 1e6 if count else 0.0


def answered(clients: list[Client]) -> int:
    return sum(len(client.times) for client in clients)


async def of_a_scrape_ms(started: Started) -> float:
    before = on_cpu_s(started.pid)
    for _ in range(SCRAPES):
        await scrape(started.metrics)
    return (on_cpu_s(started.pid) - before) / SCRAPES * 1000


Rounds = list[dict[str, Round]]
"""Of one start."""


def table(starts: list[Rounds]) -> Iterator[str]:
    """`/ off` and `+ MiB`: beside the case without telemetry."""
    columns = ("CPU µs", "CPU / off", "RSS MiB", "+ MiB")
    yield " " * 32 + "".join(f"{name:>11}" for name in columns)
    rounds = [each for start in starts for each in start]
    off = [each[CASES[0].name] for each in rounds]
    for case in CASES:
        own = [each[case.name] for each in rounds]
        cpu_us = least(starts, case)
        figures = (
            cpu_us,
            beside(starts, case),
            statistics.median(each.rss_mib for each in own),
            statistics.median(each.rss_mib - without.rss_mib for each, without in zip(own, off, strict=True)),
        )
        yield f"{case.name:32}" + "".join(f"{each:11.2f}" for each in figures)


def least(starts: list[Rounds], case: Case) -> float:
    """The lower quartile of CPU per call in each start, and the mean of these."""
    slices = ([cpu for each in rounds for cpu in each[case.name].cpu_us if cpu] for rounds in starts)
    return statistics.mean(statistics.quantiles(each, n=4)[0] for each in slices)


def beside(starts: list[Rounds], case: Case) -> float:
    """CPU per call divided by that of the slice without telemetry next to it: the median in each start, and the mean of
    these."""
    ratios = (
        [
            own / off
            for each in rounds
            for own, off in zip(each[case.name].cpu_us, each[CASES[0].name].cpu_us, strict=True)
            if own and off
        ]
        for rounds in starts
    )
    return statistics.mean(map(statistics.median, ratios))


def of_a_round(started: list[Started]) -> dict[str, Round]:
    cpu_us: dict[str, list[float]] = {each.case.name: [] for each in started}
    for _ in range(SLICES):
        for each in random.sample(started, len(started)):
            cpu_us[each.case.name].append(uvloop.run(slice_us(each)))
    return {each.case.name: Round(cpu_us[each.case.name], rss_mib(each.pid)) for each in started}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    starts = []
    with place() as at:
        for _ in range(options.starts):
            with ExitStack() as stack:
                started = [stack.enter_context(running(case, at)) for case in CASES]
                for each in started:
                    uvloop.run(load(each.port, "/kb", 8, 0.5))
                starts.append([of_a_round(started) for _ in range(options.rounds)])
                scrape_ms = uvloop.run(of_a_scrape_ms(started[-1]))
        print("\n".join(table(starts)))
        print(f"a scrape: {scrape_ms:.1f} ms of CPU", flush=True)


if __name__ == "__main__":
    main()
