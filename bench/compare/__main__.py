"""What a call costs: direct, through nginx, through Envoy and through the sidecar, in one run.

    python -m bench.compare [--rounds 3] [--seconds 2] [--picture FILE.svg] [--here]

Who is measured has one core for itself; the load and the tool's server share the other. Rounds are interleaved, so
that whatever else the machine does hits everybody, and medians are shown. Envoy and the sidecar do equal work:
timeouts, retries, a circuit breaker (outlier detection) and one pattern taken out of request and answer; nginx only
passes on. The sidecar runs with what its image has, Python among it. Figures of one run compare with each other, not
with those of another run or machine.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, nullcontext
from pathlib import Path

from bench.compare import shipped, work
from bench.compare.load import Flood, Latencies, first_answer, steady
from bench.compare.machine import MEASURED_CORE, anywhere, cpu_s, free_port, pin, pin_self, rss_mib
from bench.compare.peers import PEERS, SIDECAR, Peer, of_this_environment, running, sidecar, upstream
from bench.compare.result import Result, table
from localcluster.trouble import Trouble

RATE = 200
"""Calls a second, where latency is measured."""
WARM_UP_S = 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=int, default=2, help="of load, for each peer in each case and round"
    )
    parser.add_argument("--case", choices=[case.name for case in work.CASES], help="only this one")
    parser.add_argument("--only", choices=[*(peer.name for peer in PEERS), SIDECAR], help="and direct")
    parser.add_argument(
        "--here", action="store_true", help="the sidecar of this environment, not the image's (needs no root)"
    )
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    pin_self()
    cases = [case for case in work.CASES if options.case in {None, case.name}]
    with nullcontext(of_this_environment()) if options.here else shipped.program() as program:
        every = (*PEERS, sidecar(program))
        peers = [peer for peer in every if options.only in {None, peer.name}]
        results = compare(cases, peers, options.rounds, options.seconds)
    print(table(results))
    print(f"\nThe sidecar ran {'in this environment' if options.here else 'as its image has it'}.")
    if options.picture:
        from bench.compare.picture import draw  # noqa: PLC0415 -- matplotlib takes a second to load

        draw(options.picture, results)


def compare(cases: list[work.Case], peers: list[Peer], rounds: int, seconds: int) -> list[Result]:
    found: dict[tuple[str, str], list[Result]] = defaultdict(list)
    gone: set[str] = set()
    for number in range(rounds):
        for case in cases:
            with tempfile.TemporaryDirectory(prefix="compare-") as name, ExitStack() as stack:
                folder = Path(name)
                port = stack.enter_context(upstream(case, folder / "upstream"))
                base = _direct(case, port, folder, seconds)
                found[case.name, base.name].append(base)
                for peer in peers:
                    if peer.name in gone:
                        continue
                    _say(f"round {number + 1} of {rounds}: {case.name}: {peer.name}")
                    try:
                        found[case.name, peer.name].append(_measured(peer, case, port, folder, seconds, base))
                    except (Trouble, OSError, TimeoutError) as error:
                        gone.add(peer.name)
                        print(f"{peer.name} is left out: {error}", file=sys.stderr)
    _say("")
    return [_median(results) for results in found.values() if results]


def _direct(case: work.Case, port: int, folder: Path, seconds: int) -> Result:
    calls = case.calls(case.path)
    first_answer(port, calls[0], case.answer)
    count = Flood(port, calls, folder).run(seconds)
    took = steady(port, calls, rate=RATE, seconds=seconds)
    return Result(case.name, "direct", count / seconds, took.p50, took.p99)


def _measured(  # noqa: PLR0917 -- the coordinates of one measurement
    peer: Peer, case: work.Case, upstream_port: int, folder: Path, seconds: int, base: Result
) -> Result:
    own, port, calls = folder / peer.name.replace(" ", "-"), free_port(), case.calls(peer.path(case))
    own.mkdir()
    command = peer.command(port, upstream_port, case, own)
    began = time.perf_counter()
    # At its start everybody has the whole machine, as a container has; only load is pinned.
    with running(anywhere(command), port, own) as pid:
        first_answer(port, calls[0], peer.answer(case))
        start_ms = (time.perf_counter() - began) * 1000
        pin(pid, MEASURED_CORE)
        flood = Flood(port, calls, own)
        flood.run(WARM_UP_S)
        before = cpu_s(pid)
        count = flood.run(seconds)
        cpu = (cpu_s(pid) - before) / count
        rss = rss_mib(pid)
        took = steady(port, calls, rate=RATE, seconds=seconds)
    added = Latencies(took.p50 - base.p50_us, took.p99 - base.p99_us)
    return Result(case.name, peer.name, count / seconds, *added, cpu * 1e6, rss, start_ms)


def _median(results: list[Result]) -> Result:
    """Of each figure by itself."""
    per_s, p50, p99, *own = zip(*(result[2:] for result in results), strict=True)
    case, name = results[0][:2]
    rest = [None if None in column else statistics.median(column) for column in own]
    return Result(case, name, statistics.median(per_s), statistics.median(p50), statistics.median(p99), *rest)


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:78}", end="" if text else "\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
