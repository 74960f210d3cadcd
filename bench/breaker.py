"""What a circuit breaker costs on one core: a call, a tool in memory, a policy to load.

    python -m bench.breaker    # after `make bench` or `uv sync --all-extras --group bench`: it needs purgatory

Goals: a tool's circuit in at most 4 KiB, 10,000 tools loaded in less than a second. Beside it purgatory, an
asyncio breaker from PyPI that counts failures in a row: its calls cost a context manager and its listeners,
too, and it has no windows, probes or leases.
"""

import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import Awaitable, Callable

import purgatory

from toolpolicy_api import snapshot
from toolpolicy_api.channel import LATENCY_BOUNDS_MS, ToolKey, Transition
from toolpolicy_sidecar.circuit import Circuit
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest
from toolpolicy_sidecar.resilience.breaker import CircuitBreaker, Outcome, Permit
from toolpolicy_sidecar.slots import Slots
from toolpolicy_sidecar.upstream.origin import parse

CALLS = 50_000
ROUNDS = 5
CIRCUITS = 500
SAMPLES = 100
"""Of each circuit whose memory is measured; a window takes all of its memory from the start."""
COUNTED = 300
"""Of each latency: the interpreter keeps no number above 256 for all who have it."""
TOOLS = 10_000
SLOW = snapshot.SlowCall(over_ms=5_000, percent=80)


def limits(rates: snapshot.CallRates | None) -> snapshot.Breaker:
    return snapshot.Breaker(60_000, 1, consecutive_failures=5, rates=rates, max_open_for_ms=300_000)


BREAKERS = {
    "failures in a row": limits(None),
    "and rates over 30 s": limits(snapshot.CallRates(10, 30_000, None, 50, SLOW)),
    "and rates over 100 calls": limits(snapshot.CallRates(10, None, 100, 50, SLOW)),
    "and rates over 8,000 calls": limits(snapshot.CallRates(10, None, 8_000, 50, SLOW)),
}


class Nobody:
    """A recorder for circuits that nobody follows."""

    def call(self, record: CallRecord) -> None: ...
    def refused(self, record: RefusedRequest) -> None: ...
    def redacted(self, record: RedactedMessage) -> None: ...
    def egress(self, record: EgressRecord) -> None: ...
    def transition(self, transition: Transition) -> None: ...


def microseconds(run: Callable[[], int]) -> str:
    """`run` gives how many it did. Median and spread of the rounds, each one's mean per piece."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        count = run()
        found.append((time.perf_counter() - began) / count * 1e6)
    return f"{statistics.median(found):6.2f} µs ({min(found):.2f} to {max(found):.2f})"


def happy(breaker: CircuitBreaker) -> Callable[[], int]:
    """Every tenth call fails, so that the windows have something to count; none opens the circuit."""
    clock = time.monotonic

    def run() -> int:
        for number in range(CALLS):
            now = clock()
            permit = breaker.acquire(now, deadline=now + 8)
            if not isinstance(permit, Permit):
                raise TypeError("the benchmark opened its circuit")
            outcome = Outcome.SUCCESS if number % 10 else Outcome.FAILURE
            breaker.record(permit, outcome, clock(), duration_s=0.1)
        return CALLS

    return run


def refusing() -> Callable[[], int]:
    breaker = CircuitBreaker(BREAKERS["and rates over 30 s"])
    for _ in range(5):
        now = time.monotonic()
        permit = breaker.acquire(now, deadline=now + 8)
        if isinstance(permit, Permit):
            breaker.record(permit, Outcome.FAILURE, now)

    def run() -> int:
        for _ in range(CALLS):
            now = time.monotonic()
            breaker.acquire(now, deadline=now + 8)
        return CALLS

    return run


def peer() -> str:
    async def calls(turn: Callable[[], Awaitable[None]]) -> int:
        for _ in range(CALLS):
            await turn()
        return CALLS

    async def measured() -> str:
        factory = purgatory.AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=60)
        breaker = await factory.get_breaker("tool")

        async def turn() -> None:
            async with breaker:
                pass

        found = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            found.append((await calls(turn), time.perf_counter() - began))
        each = [seconds / count * 1e6 for count, seconds in found]
        return f"{statistics.median(each):6.2f} µs ({min(each):.2f} to {max(each):.2f})"

    return asyncio.run(measured())


def bytes_per_tool(breaker: snapshot.Breaker) -> tuple[float, float]:
    """What is kept of a tool that is called: its circuit and its slots. And all of the tool: its name, what it matches
    and its part of the policy, too."""
    clock, nobody, place = SystemClock(), Nobody(), parse("http://tool.test/mcp")
    own = snapshot.Rules(snapshot.Timeouts(8_000, 3_000, 1_000), breaker)

    def states() -> tuple[list[Circuit], list[Slots]]:
        keys = [ToolKey("support/agent", "kb", f"tool-{number}") for number in range(CIRCUITS)]
        circuits = [Circuit(key, place, own, clock, nobody.transition) for key in keys]
        filled(circuits)
        return circuits, [Slots(key.tool, None, clock) for key in keys]

    def loaded() -> Current:
        current = Current(recorder=nobody, clock=clock)
        data = policy(own, CIRCUITS)
        runtime = current.install(data, "bench")
        filled(list(runtime.circuits.values()))
        return current

    return allocated(states) / CIRCUITS, allocated(loaded) / CIRCUITS


def filled(circuits: list[Circuit]) -> None:
    for circuit in circuits:
        for sample in range(SAMPLES):
            now = time.monotonic()
            permit = circuit.acquire(now, now + 8)
            outcome = Outcome.SUCCESS if sample % 10 else Outcome.FAILURE
            if isinstance(permit, Permit):
                circuit.settle(permit, outcome, "ServerError: HTTP 503", duration_s=sample % 10)
        now = time.monotonic()
        for latency_ms in (*LATENCY_BOUNDS_MS, 2 * LATENCY_BOUNDS_MS[-1]):
            for _ in range(COUNTED):
                circuit.count(now, "failure", latency_ms)


def allocated(make: Callable[[], object]) -> int:
    """Bytes of what is left of it."""
    gc.collect()
    tracemalloc.start()
    kept = make()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return used


def policy(rules: snapshot.Rules, tools: int) -> bytes:
    made = snapshot.Policy(
        namespace="support",
        name="agent",
        uid="1",
        generation=1,
        created="2026-01-01T00:00:00Z",
        selector=snapshot.Selector(),
        servers=(snapshot.Server("kb", "MCP", "http://kb.test/mcp", rules),),
        tools=tuple(
            snapshot.Tool(f"tool-{n}", "kb", snapshot.McpMatch(f"tool-{n}"), rules) for n in range(tools)
        ),
    )
    return snapshot.encode(snapshot.Snapshot((made,)))


def load() -> tuple[float, float]:
    """Seconds for a first and for a second snapshot, which keeps every circuit."""
    rules = snapshot.Rules(snapshot.Timeouts(8_000, 3_000, 1_000, 5_000), BREAKERS["and rates over 30 s"])
    data = policy(rules, TOOLS)
    current = Current(recorder=Nobody(), clock=SystemClock())
    times = []
    for _ in range(2):
        began = time.perf_counter()
        current.install(data, "bench")
        times.append(time.perf_counter() - began)
    return times[0], times[1]


def main() -> None:
    print("a call (acquire and record)")
    for name, config in BREAKERS.items():
        print(f"  {name:30} {microseconds(happy(CircuitBreaker(config)))}")
    print(f"  {'refused by an open circuit':30} {microseconds(refusing())}")
    print(f"  {'purgatory, failures in a row':30} {peer()}")
    print("a tool in memory: its state (goal: 4,096 bytes), and all of it with its part of the policy")
    for name, config in BREAKERS.items():
        state, whole = bytes_per_tool(config)
        print(f"  {name:30} {state:8,.0f} bytes, {whole:8,.0f} bytes")
    first, again = load()
    print(f"a policy of {TOOLS:,} tools: loaded in {first:.2f} s, reloaded in {again:.2f} s")


if __name__ == "__main__":
    main()
