"""How late a timeout fires while the sidecar is busy. Goal: within 20 ms.

    python -m bench.deadlines [--seconds 20] [--rate 200]

A tool that never answers is called four times a second under a `timeout.total` of 250 ms and one of 6 s, while
200 other calls a second pass. Lateness is measured by the agent: from the wanted time to its answer. Beside it
aiohttp's client, which has the same two timeouts and the same background in a process of its own: it rounds
timeouts of more than five seconds up to whole ones.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from bench.compare.machine import free_port, wait_for
from bench.data_path import ToolServer, pin, sidecar

SHORT_MS, LONG_MS = 250, 6_000
EVERY_S = 0.25
POLICY = """
apiVersion: toolpolicy.dev/v1alpha1
kind: ToolPolicy
metadata: {{name: bench, namespace: bench}}
spec:
  selector: {{}}
  servers:
  - {{name: api, protocol: HTTP, url: "http://127.0.0.1:{port}"}}
  - {{name: silent, protocol: HTTP, url: "http://127.0.0.1:{silent}"}}
  tools:
  - {{name: fast, server: api, match: {{path: /fast}}}}
  - {{name: short, server: silent, match: {{path: /short}}, timeout: {{total: {short}ms}}}}
  - {{name: long, server: silent, match: {{path: /long}}, timeout: {{total: {long}ms}}}}
"""
Call = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


class Silent(asyncio.Protocol):
    """Takes everything, says nothing."""


def servers(port: int, silent: int) -> None:
    pin(1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_server(ToolServer, "127.0.0.1", port)
        await loop.create_server(Silent, "127.0.0.1", silent)
        await asyncio.Event().wait()

    asyncio.run(main())


async def lateness(
    seconds: float, rate: float, call: Call, fast: Callable[[aiohttp.ClientSession], Awaitable[None]]
) -> dict[int, list[float]]:
    """Milliseconds too late, by timeout."""
    late: dict[int, list[float]] = {SHORT_MS: [], LONG_MS: []}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one(limit_ms: int, name: str) -> None:
            began = time.perf_counter()
            await call(session, name)
            late[limit_ms].append((time.perf_counter() - began) * 1000 - limit_ms)

        async def background() -> None:
            while True:
                started.append(asyncio.ensure_future(fast(session)))
                await asyncio.sleep(1 / rate)

        started: list[asyncio.Future[None]] = []
        noise = asyncio.ensure_future(background())
        timed = []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            timed += [
                asyncio.ensure_future(one(SHORT_MS, "short")),
                asyncio.ensure_future(one(LONG_MS, "long")),
            ]
            await asyncio.sleep(EVERY_S)
        await asyncio.gather(*timed)
        noise.cancel()
        await asyncio.gather(*started, return_exceptions=True)
    return late


def show(name: str, late: dict[int, list[float]]) -> None:
    for limit_ms, found in late.items():
        found.sort()
        at = [found[min(len(found) - 1, int(len(found) * share))] for share in (0.5, 0.99)]
        print(
            f"{name:16s} timeout {limit_ms:5d} ms: late by {at[0]:6.1f} ms (median), {at[1]:6.1f} ms (p99), "
            f"{found[-1]:6.1f} ms (max), {statistics.mean(x <= 20 for x in found):.1%} within 20 ms, {len(found)} calls"
        )


async def main(seconds: float, rate: float) -> None:
    port, silent, reverse = free_port(), free_port(), free_port()
    tools = multiprocessing.get_context("spawn").Process(target=servers, args=(port, silent), daemon=True)
    tools.start()
    wait_for(port)
    wait_for(silent)
    pin(1)

    async def through(session: aiohttp.ClientSession, name: str) -> None:
        async with session.get(f"http://127.0.0.1:{reverse}/silent/{name}") as answer:
            await answer.read()
            if answer.status != 504:
                raise SystemExit(f"HTTP {answer.status}")

    async def fast_through(session: aiohttp.ClientSession) -> None:
        async with session.post(f"http://127.0.0.1:{reverse}/api/fast", data=b"{}") as answer:
            await answer.read()

    async def direct(session: aiohttp.ClientSession, name: str) -> None:
        limit = aiohttp.ClientTimeout(total=(SHORT_MS if name == "short" else LONG_MS) / 1000)
        try:
            async with session.get(f"http://127.0.0.1:{silent}/{name}", timeout=limit) as answer:
                await answer.read()
        except TimeoutError:
            return

    async def fast_direct(session: aiohttp.ClientSession) -> None:
        async with session.post(f"http://127.0.0.1:{port}/fast", data=b"{}") as answer:
            await answer.read()

    with tempfile.TemporaryDirectory() as folder:
        policies = Path(folder) / "policy.yaml"
        limits = {"short": SHORT_MS, "long": LONG_MS}
        policies.write_text(POLICY.format(port=port, silent=silent, **limits), encoding="utf-8")
        with sidecar(policies, reverse):
            show("toolpolicy", await lateness(seconds, rate, through, fast_through))
    show("aiohttp's client", await lateness(seconds, rate, direct, fast_direct))
    tools.terminate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=200)
    options = parser.parse_args()
    asyncio.run(main(options.seconds, options.rate))
