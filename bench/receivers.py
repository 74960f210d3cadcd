"""That no receiver of telemetry can make calls slower: one that is slow, hangs or refuses, beside a good one.

    python -m bench.receivers [--starts 6] [--seconds 60] [--settle 15] [--rate 60]

A `toolpolicy sidecar` for each receiver, out of the image, with everything on: a line for each call, traces, logs by
OTLP, sessions. They are called at the same time, each at a constant rate and in an order by chance, so that whatever
else the machine does hits all of them alike. Latency counts from when a call was due. First there are more calls at
once than the queue of telemetry holds, and then calls for so long that requests to a receiver that hangs have run out
of time. All are started a few times, since where a process lies in memory makes a difference too. Two have a good
receiver: what these differ by is chance.

Percentiles are over all calls; ratios have the interval that holds 95 of 100 repetitions with the seconds drawn again
(bootstrap). Lost: spans and log records that nobody got.
"""

import argparse
import asyncio
import random
import re
import statistics
import time
import urllib.request
from contextlib import ExitStack
from typing import cast

import uvloop

from bench.data_path import CALL, load
from bench.telemetry import Case, Started, place, running, sampled

ENVIRONMENT = sampled(0.01) | {"OTEL_LOGS_EXPORTER": "otlp"}
CASES = tuple(
    Case(name, receiver, ENVIRONMENT, everything=True)
    for name, receiver in (
        ("good", "good"),
        ("good, another", "good"),
        ("slow (3 s)", "slow"),
        ("hangs", "hangs"),
        ("refuses", "refuses"),
    )
)
CONNECTIONS = 8
"""For each."""
DRAWS = 1000

Seconds = list[dict[str, list[float]]]
"""Of each second, the times of calls by the name of the case, in seconds."""


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


class Called:
    """One of those that are called side by side."""

    def __init__(self, started: Started) -> None:
        self.name, self.port = started.case.name, started.port
        head = f"POST /kb HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\nAccept: */*\r\n"
        self._request = f"{head}Content-Length: {len(CALL)}\r\n\r\n".encode() + CALL
        self._free: asyncio.Queue[Paced] = asyncio.Queue()
        self.times: list[float] = []

    async def connect(self) -> None:
        for _ in range(CONNECTIONS):
            await asyncio.get_running_loop().create_connection(
                lambda: Paced(self._free, self.times), "127.0.0.1", self.port
            )

    async def call(self, due: float) -> None:
        client = await self._free.get()
        client.due = due
        client.transport.write(self._request)


async def side_by_side(started: list[Started], options: argparse.Namespace) -> Seconds:
    called = [Called(each) for each in started]
    for each in called:
        await each.connect()
    found: Seconds = []
    number, began, each_s = 0, time.perf_counter(), 1 / (options.rate * len(called))
    for second in range(int(options.settle + options.seconds)):
        for _ in range(int(options.rate)):
            for each in random.sample(called, len(called)):
                due = began + number * each_s
                number += 1
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await each.call(due)
        if second >= options.settle:
            found.append({each.name: each.times[:] for each in called})
        for each in called:
            each.times.clear()
    return found


def lost(started: Started) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{started.metrics}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return sum(
        int(float(each))
        for each in re.findall(r"^toolpolicy_telemetry_dropped\S* (\S+)$", text, re.MULTILINE)
    )


def percentile_ms(seconds: Seconds, name: str, percent: int) -> float:
    times = [each for second in seconds for each in second[name]]
    return statistics.quantiles(times, n=100)[percent - 1] * 1000


def ratio(seconds: Seconds, name: str, percent: int) -> float:
    return percentile_ms(seconds, name, percent) / percentile_ms(seconds, CASES[0].name, percent)


def interval(seconds: Seconds, name: str, percent: int) -> tuple[float, float]:
    chance = random.Random(1)  # noqa: S311 -- stable, not secret
    found = sorted(ratio(chance.choices(seconds, k=len(seconds)), name, percent) for _ in range(DRAWS))
    return found[DRAWS // 40], found[-DRAWS // 40]


def table(seconds: Seconds, missed: dict[str, int]) -> None:
    print(f"{'receiver':16}{'calls':>8}{'lost':>9}", end="")
    for percent in (50, 99):
        print(f"{f'p{percent} ms':>9}{'/ good':>8}{'95 of 100':>15}", end="")
    print()
    for case in CASES:
        print(f"{case.name:16}{sum(len(each[case.name]) for each in seconds):8}{missed[case.name]:9}", end="")
        for percent in (50, 99):
            least, most = interval(seconds, case.name, percent)
            found = percentile_ms(seconds, case.name, percent), ratio(seconds, case.name, percent)
            print(f"{found[0]:9.2f}{found[1]:8.3f}{f'{least:.2f} to {most:.2f}':>15}", end="")
        print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--settle", type=int, default=15, help="seconds of calls that are not counted")
    parser.add_argument("--rate", type=int, default=60, help="calls a second, of each")
    options = parser.parse_args()
    seconds: Seconds = []
    missed = dict.fromkeys((case.name for case in CASES), 0)
    with place() as at:
        for _ in range(options.starts):
            with ExitStack() as stack:
                started = [
                    stack.enter_context(running(case, at)) for case in random.sample(CASES, len(CASES))
                ]
                for each in started:
                    uvloop.run(load(each.port, "/kb", 8, 0.5))
                before = [lost(each) for each in started]
                seconds += uvloop.run(side_by_side(started, options))
                for each, already in zip(started, before, strict=True):
                    missed[each.case.name] += lost(each) - already
    table(seconds, missed)


if __name__ == "__main__":
    main()
