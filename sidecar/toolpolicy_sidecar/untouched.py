"""A call that nothing is done to: mode Off, and mode Shadow, where its shadow shows what Enforce would have done."""

from toolpolicy_sidecar.admission import sample_of
from toolpolicy_sidecar.attempt import attempt
from toolpolicy_sidecar.attempts import Means
from toolpolicy_sidecar.call import Reply, ToolCall
from toolpolicy_sidecar.deadline import Watch
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.relay.http import HttpRelay
from toolpolicy_sidecar.relay.mcp import McpRelay
from toolpolicy_sidecar.shadow.call import ShadowCall
from toolpolicy_sidecar.telemetry.call_trace import AttemptTrace
from toolpolicy_sidecar.upstream.exchange import Request, Response

CONNECT_S = 120.0
"""About what a Linux kernel gives a connection without a proxy."""


class Untouched:
    def __init__(
        self, call: ToolCall, relay: HttpRelay | McpRelay, reply: Reply, progress: Progress, means: Means
    ) -> None:
        self._call, self._relay, self._reply, self._progress = call, relay, reply, progress
        self._means = means

    async def answered(self, limit_bytes: int) -> Problem | None:
        """None: the agent has the tool's own answer. Else there is none that could be passed on. Raises Stopped."""
        call, progress = self._call, self._progress
        request = await self._relay.request()
        if progress.sampled is not None:
            progress.sampled.sent(request)
        if call.tool.mode == "Off":
            # Counted all the same: limits that come with a reload find what is in flight.
            now, never = self._means.clock.monotonic(), float("inf")
            held = [
                (slots, slots.overbook(now, never).ticket) for slots in (call.tool.slots, call.server.slots)
            ]
            try:
                return await self._attempt(request, None)
            finally:
                for slots, ticket in held:
                    slots.leave(ticket, sample_of(progress))
        shadow = ShadowCall(call, self._reply, progress, self._means, limit_bytes)
        try:
            return await self._attempt(await shadow.begin(request), shadow)
        finally:
            shadow.close()

    async def _attempt(self, request: Request, shadow: ShadowCall | None) -> Problem | None:
        means, progress = self._means, self._progress
        status = 0

        async def carry(response: Response, watch: Watch) -> None:
            nonlocal status
            status = response.status
            await self._relay.carry(response if shadow is None else shadow.head(response), watch)

        progress.attempts = 1
        began = means.clock.monotonic()
        watch = Watch(means.clock, None, None) if shadow is None else shadow.watch()
        try:
            problem = await attempt(means.pool, request, connect_s=CONNECT_S, watch=watch, carry=carry)
            if problem is not None:
                problem = self._call.incoming.body.problem or problem
                progress.failed(problem)
        finally:
            now, trace = means.clock.monotonic(), progress.trace
            progress.upstream_s = now - began
            if trace is not None:  # its line was told to nobody: the request stayed as it is
                reason, error = progress.result.reason, progress.error
                trace.attempts = (AttemptTrace(trace.first, began, now, status, reason, error),)
        if shadow is not None:
            await shadow.end(problem)
        return problem
