"""That no receiver of telemetry can make calls slower: one that is slow, hangs or refuses, beside a good one.

    python -m bench.receivers [--rounds 20] [--seconds 4] [--settle 2] [--rate 200]

One `toolpolicy sidecar` with everything on (a line for each call, traces, logs by OTLP, sessions) is called at a
constant rate, and its receiver behaves in one way after the other: so no two processes are compared, which alone would
differ by more. Each round has a slice of every behaviour in another order, and the good one twice: what the machine
does in the meantime is what these two differ by. Latency counts from when a call was due. Percentiles are over all
calls of a behaviour; ratios have an interval that holds 95 of 100 repetitions with rounds drawn again (bootstrap).
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import statistics
import subprocess
import tempfile
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from bench.compare.machine import free_port, wait_for
from bench.data_path import POLICY, ToolServer, load, pin, sidecar
from bench.telemetry import Receiver, paced

AFTER_S = {"good": 0.0, "good again": 0.0, "slow": 3.0, "hangs": None}
"""What a request for telemetry waits for its answer; None: for ever."""
BEHAVIOURS = (*AFTER_S, "refuses")
DRAWS = 1000
Rounds = dict[str, list[list[float]]]
"""Seconds per call, by behaviour and round."""


def servers(tool: int, receiver: int, told: Connection) -> None:
    """The tool, and a receiver that behaves as it is told: a name of BEHAVIOURS. Answers with how many requests the
    receiver has had."""
    pin(1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_server(ToolServer, "127.0.0.1", tool)
        listening: asyncio.Server | None = None
        open_now: set[Kept] = set()
        while True:
            behaviour = await loop.run_in_executor(None, told.recv)
            if listening is not None:
                listening.close()
            for each in list(open_now):
                each.drop()
            listening = None
            if behaviour in AFTER_S:
                listening = await loop.create_server(
                    partial(Kept, AFTER_S[behaviour], open_now), "127.0.0.1", receiver
                )
            told.send(Kept.answered)

    uvloop.run(main())


class Kept(Receiver):
    """Can be dropped when the receiver changes its behaviour."""

    answered = 0

    def __init__(self, after_s: float | None, open_now: "set[Kept]") -> None:
        super().__init__(after_s)
        self._open_now = open_now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._open_now.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._open_now.discard(self)

    def drop(self) -> None:
        self._transport.abort()

    def _answer(self) -> None:
        Kept.answered += 1
        super()._answer()


def measured(port: int, told: Connection, options: argparse.Namespace) -> tuple[Rounds, dict[str, int]]:
    """And how many requests of telemetry were answered, by behaviour."""
    times: Rounds = {each: [] for each in BEHAVIOURS}
    answers = dict.fromkeys(BEHAVIOURS, 0)
    last = BEHAVIOURS[0]
    for _ in range(options.rounds):
        for behaviour in random.sample(BEHAVIOURS, len(BEHAVIOURS)):
            told.send(behaviour)
            total = told.recv()
            answers[last] += total - sum(answers.values())
            last = behaviour
            uvloop.run(paced(port, "/kb", options.rate, options.settle))
            times[behaviour].append(uvloop.run(paced(port, "/kb", options.rate, options.seconds)))
    told.send(last)
    answers[last] += told.recv() - sum(answers.values())
    return times, answers


def percentile_ms(rounds: list[list[float]], percent: int) -> float:
    return statistics.quantiles([each for times in rounds for each in times], n=100)[percent - 1] * 1000


def ratio(times: Rounds, behaviour: str, percent: int, drawn: list[int]) -> float:
    """To the good one, in these rounds."""
    own, good = ([times[name][number] for number in drawn] for name in (behaviour, "good"))
    return percentile_ms(own, percent) / percentile_ms(good, percent)


def interval(times: Rounds, behaviour: str, percent: int) -> tuple[float, float]:
    count = len(times["good"])
    chance = random.Random(1)  # noqa: S311 -- stable, not secret
    found = sorted(
        ratio(times, behaviour, percent, chance.choices(range(count), k=count)) for _ in range(DRAWS)
    )
    return found[DRAWS // 40], found[-DRAWS // 40]


def table(times: Rounds, answers: dict[str, int]) -> None:
    print(f"{'receiver':12}{'calls':>8}{'taken':>7}", end="")
    for percent in (50, 99):
        print(f"{f'p{percent} ms':>9}{'/ good':>8}{'95 of 100':>15}", end="")
    print()
    for behaviour, rounds in times.items():
        print(f"{behaviour:12}{sum(map(len, rounds)):8}{answers[behaviour]:7}", end="")
        for percent in (50, 99):
            least, most = interval(times, behaviour, percent)
            print(
                f"{percentile_ms(rounds, percent):9.2f}"
                f"{ratio(times, behaviour, percent, list(range(len(rounds)))):8.3f}"
                f"{f'{least:.2f} to {most:.2f}':>15}",
                end="",
            )
        print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--settle", type=float, default=2.0, help="of a slice, not counted")
    parser.add_argument("--rate", type=float, default=200.0)
    options = parser.parse_args()
    tool, receiver, port = free_port(), free_port(), free_port()
    context = multiprocessing.get_context("spawn")
    told, own = context.Pipe()
    process = context.Process(target=servers, args=(tool, receiver, own), daemon=True)
    process.start()
    wait_for(tool)
    pin(1)
    os.environ |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver}",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
        "OTEL_LOGS_EXPORTER": "otlp",
    }
    more = ("--log-level", "info", "--session-header", "Content-Type")
    with tempfile.TemporaryDirectory() as folder:
        policies = Path(folder) / "policy.yaml"
        policies.write_text(POLICY.format(port=tool, redaction=""))
        with sidecar(policies, port, *more, output=subprocess.DEVNULL):
            uvloop.run(load(port, "/kb", 8, 1.0))
            table(*measured(port, told, options))
    process.terminate()


if __name__ == "__main__":
    main()
