"""What the policy's decisions cost a call that succeeds, on one core. Goal: at most 15 µs.

    python -m bench.decisions

The real pipeline, with an upstream and an agent that cost nothing: the same calls under `mode: Off`, which decides
nothing, and under a policy with ever more rules. The difference is what the rules cost.
"""

import gc
import time
from collections.abc import AsyncIterator, Callable, Iterable

import uvloop

from toolpolicy_api import snapshot
from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.call import Incoming, ToolCall
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest
from toolpolicy_sidecar.tool import HttpTools, ToolState
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.headers import Header
from toolpolicy_sidecar.upstream.pool import Pool

CALLS = 2_000
ROUNDS = 40
HEADERS: tuple[Header, ...] = ((b"Accept", b"*/*"), (b"User-Agent", b"bench"))
TIMEOUTS = snapshot.Timeouts(total_ms=8_000, attempt_ms=3_000, connect_ms=1_000)
RATES = snapshot.CallRates(10, 30_000, None, 50, snapshot.SlowCall(over_ms=2_000, percent=80))
BREAKER = snapshot.Breaker(30_000, 1, consecutive_failures=5, rates=RATES, max_open_for_ms=300_000)
RETRY = snapshot.Retry(3, 100, 2_000, ("Connect", "Timeout", "ServerError", "Throttled"), idempotent=True)
LIMIT = snapshot.Concurrency(max=100, queue=100, queue_timeout_ms=1_000)
SAID = snapshot.MessageFallback("Go on without it.")
STEPS = {
    "timeouts": snapshot.Rules(TIMEOUTS),
    "and a circuit breaker with rates": snapshot.Rules(TIMEOUTS, BREAKER),
    "and retries": snapshot.Rules(TIMEOUTS, BREAKER, RETRY),
    "and a concurrency limit": snapshot.Rules(TIMEOUTS, BREAKER, RETRY, LIMIT),
    "and a fallback": snapshot.Rules(TIMEOUTS, BREAKER, RETRY, LIMIT, fallback=SAID),
}


class Nothing:
    """An empty body from the agent and from the tool; an answer that nobody reads; a record that nobody keeps."""

    length: int | None = 0
    problem: Problem | None = None
    waiting = False
    waited_s = 0.0
    started = False
    sent_bytes = 0

    async def read(self) -> bytes:
        return b""

    def done(self) -> None: ...
    def abort(self) -> None: ...

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b""

    async def start(
        self, status: int, reason: bytes, headers: Iterable[Header], length: int | None
    ) -> None: ...
    async def write(self, piece: bytes) -> None: ...
    async def finish(self) -> None: ...
    def call(self, record: CallRecord) -> None: ...
    def refused(self, record: RefusedRequest) -> None: ...
    def redacted(self, record: RedactedMessage) -> None: ...
    def egress(self, record: EgressRecord) -> None: ...
    def transition(self, transition: Transition) -> None: ...


class Body(Nothing):
    async def whole(self, deadline: float | None = None) -> bytes:  # noqa: ARG002 -- Body's signature
        return b""


class Reply(Nothing):
    async def whole(self, status: int, headers: Iterable[Header], body: bytes) -> None: ...


class Instant(Pool):
    async def exchange(
        self,
        request: Request,  # noqa: ARG002 -- as the pool's
        *,
        connect_timeout_s: float,  # noqa: ARG002 -- the same
        connected: Callable[[], None] | None = None,  # noqa: ARG002 -- the same
    ) -> Response:
        return Response(200, b"OK", (), Nothing(), length=0)


def policy(rules: snapshot.Rules, mode: str) -> bytes:
    made = snapshot.Policy(
        namespace="support",
        name="agent",
        uid="u",
        generation=1,
        created="2026-01-01T00:00:00Z",
        selector=snapshot.Selector(),
        mode="Off" if mode == "Off" else "Enforce",
        servers=(snapshot.Server("api", "HTTP", "http://tool.test", rules),),
        tools=(snapshot.Tool("ticket", "api", snapshot.HttpMatch("/tickets"), rules),),
    )
    return snapshot.encode(snapshot.Snapshot((made,)))


class Bench:
    """One pipeline under one policy."""

    def __init__(self, rules: snapshot.Rules, mode: str = "Enforce") -> None:
        self._clock, nobody = SystemClock(), Nothing()
        current = Current(recorder=nobody, clock=self._clock)
        runtime = current.install(policy(rules, mode), "bench")
        self._pipeline = Pipeline(Instant(), Limits(), self._clock, nobody)
        self._server = runtime.servers["api"]
        tools = self._server.tools
        tool = tools.find("GET", "/tickets") if isinstance(tools, HttpTools) else None
        if not isinstance(tool, ToolState):
            raise TypeError("the tool is not there")
        self._tool = tool

    async def microseconds(self) -> float:
        """Per call, of one round."""
        clock, body, reply = self._clock, Body(), Reply()
        gc.collect()
        began = time.process_time()
        for _ in range(CALLS):
            incoming = Incoming("GET", "/tickets", None, HEADERS, {}, frozenset(), body, clock.monotonic(), 0)
            await self._pipeline.call(ToolCall(incoming, self._server, self._tool, ()), reply)
        return (time.process_time() - began) / CALLS * 1e6


async def main() -> None:
    benches = {"mode: Off": Bench(STEPS["timeouts"], "Off")} | {n: Bench(r) for n, r in STEPS.items()}
    rounds = [{name: await bench.microseconds() for name, bench in benches.items()} for _ in range(ROUNDS)]
    # The best round: whatever else runs on the machine only adds. Each round has all of them, one after the other.
    best = {name: min(each[name] for each in rounds) for name in benches}
    off = best.pop("mode: Off")
    print(f"{'mode: Off':36s} {off:6.1f} µs per call: nothing is decided")
    for name, took in best.items():
        print(f"{name:36s} {took:6.1f} µs per call, {took - off:5.1f} µs for the decisions")


if __name__ == "__main__":
    uvloop.run(main())
