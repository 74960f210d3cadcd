"""The second attempt beside a first one that is late: its own permit, its own name, paid from the budget of retries.
When to make one, `resilience/hedge.py` decides; who of the two was first, `race.py` sees."""

import random

import msgspec
from msgspec.structs import replace

from toolpolicy_sidecar import deadline
from toolpolicy_sidecar.call import McpCall, ToolCall
from toolpolicy_sidecar.cleanse import without
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.idempotency import identifier
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.relay.http import HttpRelay
from toolpolicy_sidecar.relay.mcp import McpRelay
from toolpolicy_sidecar.resilience.breaker import Permit, Rejected
from toolpolicy_sidecar.resilience.hedge import allowed
from toolpolicy_sidecar.rules import decide
from toolpolicy_sidecar.upstream.exchange import Request
from toolpolicy_sidecar.upstream.headers import Header


class Live(msgspec.Struct, frozen=True):
    """An attempt that was sent. `mcp`: as its server knows it."""

    permit: Permit | None
    began: float
    mcp: McpCall | None


class SecondAttempt:
    """`live` is the one of the two that does not count: this one, until it wins and they change places. None: it was
    not made."""

    def __init__(
        self,
        call: ToolCall,
        relay: HttpRelay | McpRelay,
        progress: Progress,
        first: Request,
        until: deadline.Deadline,
    ) -> None:
        self._call, self._relay, self._progress = call, relay, progress
        self._first, self._until = first, until
        self.live: Live | None = None
        self.line = b""
        """Of its trace, if it has one."""

    def made(self, clock: Clock, rng: random.Random) -> Request | None:
        """None: there may be none."""
        call, now = self._call, clock.monotonic()
        circuit = call.tool.circuit
        if self._until.at <= now or decide(call, now) is not None:
            return None
        closed = circuit.state(now) == "Closed"
        if not allowed(call.server.retry_budget, now, answer_began=False, circuit_closed=closed):
            return None
        permit = circuit.acquire(now, self._until.at)
        if isinstance(permit, Rejected):
            return None
        self._progress.attempts += 1
        self._progress.hedge = "Lost"
        request, known = self._first, call.mcp
        if call.mcp is not None and isinstance(self._relay, McpRelay):
            named = f'"{identifier(rng)}"'.encode()
            known = replace(call.mcp, identifier=named)
            request = self._relay.again(request, named)
        self.live = Live(permit, now, known)
        headers = without(request.headers, call.server.timeout_header.lower())
        trace, left_s = self._progress.trace, self._until.at - now
        if trace is None:
            return timed(call, request, headers, left_s)
        self.line = trace.another()
        return trace.carried(timed(call, request, headers, left_s, self.line), self.line)


def timed(
    call: ToolCall,
    request: Request,
    headers: tuple[Header, ...],
    left_s: float,
    traced: bytes = b"",
) -> Request:
    """Tells the tool how long its answer is waited for; not of a WebSocket, which may last. `traced`: a line that it
    gets, too."""
    if request.switch_to is not None:
        return replace(request, headers=headers, added=traced)
    left = b"\r\n%b: %d%b" % (call.server.timeout_header, max(1, int(left_s * 1000)), traced)
    return Request(
        request.origin,
        request.method,
        request.target,
        headers,
        request.body,
        length=request.length,
        added=left,
    )
