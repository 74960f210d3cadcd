"""From a recognised call to an answer and a record: rules, slot, permit, attempt, answer, in this order."""

import asyncio
import logging
import re

from toolpolicy_sidecar import classify
from toolpolicy_sidecar.admission import Admission
from toolpolicy_sidecar.attempt import attempt
from toolpolicy_sidecar.call import Passing, Reply, ToolCall
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.deadline import Deadline, Watch, of_attempt
from toolpolicy_sidecar.mcp.cancel import Canceller
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.reasons import MEANINGS, Reason
from toolpolicy_sidecar.record import CallRecord, Recorder, RefusedRequest
from toolpolicy_sidecar.relay import passing as passing_relay
from toolpolicy_sidecar.relay.http import HttpRelay
from toolpolicy_sidecar.relay.mcp import McpRelay
from toolpolicy_sidecar.resilience.breaker import Outcome, Permit, Rejected
from toolpolicy_sidecar.rules import decide
from toolpolicy_sidecar.runtime import Limits
from toolpolicy_sidecar.upstream.exchange import Request
from toolpolicy_sidecar.upstream.pool import Pool

log = logging.getLogger("toolpolicy")

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-")
_TIMEOUTS = {Reason.TotalTimeout, Reason.AttemptTimeout, Reason.IdleTimeout}


class Pipeline:
    def __init__(self, pool: Pool, limits: Limits, clock: Clock, recorder: Recorder) -> None:
        self._pool, self._limits, self._clock, self._recorder = pool, limits, clock, recorder
        self._canceller = Canceller(pool)

    async def close(self) -> None:
        await self._canceller.close()

    async def call(self, call: ToolCall, reply: Reply) -> None:
        """Answers a tool call, and records it exactly once. Raises CancelledError when the agent hangs up."""
        progress = Progress()
        relay = (
            HttpRelay(call, reply, progress, self._limits.body_bytes)
            if call.mcp is None
            else McpRelay(call, call.mcp, reply, progress, self._limits.body_bytes)
        )
        try:
            problem = await self._tried(call, relay, reply, progress)
            if problem is not None:
                await relay.fail(problem)
        except (asyncio.CancelledError, ConnectionError):
            progress.status, progress.result, progress.error = 499, classify.CLIENT_GONE, None
            raise
        except Exception:
            log.exception("a call failed in the sidecar itself")
            problem = Problem(Reason.InternalError, "the sidecar failed, see its log")
            progress.failed(problem)
            await relay.fail(problem)
        finally:
            self._record(call, reply, progress)

    async def passing(self, passing: Passing, reply: Reply) -> None:
        problem = await passing_relay.relay(passing, reply, self._pool, self._clock, self._limits.body_bytes)
        if problem is not None:
            status = MEANINGS[problem.reason].status
            self._recorder.refused(RefusedRequest(reason=problem.reason, status=status, error=problem.detail))

    async def _tried(
        self, call: ToolCall, relay: HttpRelay | McpRelay, reply: Reply, progress: Progress
    ) -> Problem | None:
        """None: the agent has the tool's own answer."""
        refused = decide(call, self._clock.monotonic())
        if refused is None:
            try:
                request = await relay.request()
                deadline = call.incoming.arrived + call.tool.total_s
                async with Admission(call.tool.slots, call.server.slots, deadline, progress):
                    if progress.queued_s:
                        refused = decide(call, self._clock.monotonic())  # it may be switched off by now
                    if refused is None:
                        return await self._attempted(call, relay, reply, progress, request)
            except Stopped as stopped:
                refused = stopped.problem
        progress.failed(refused)
        return refused

    async def _attempted(
        self,
        call: ToolCall,
        relay: HttpRelay | McpRelay,
        reply: Reply,
        progress: Progress,
        request: Request,
    ) -> Problem | None:
        """One attempt, under a permit that is settled in any case, and before the agent hears of a failure:
        its next call finds the circuit as this one left it."""
        tool, started = call.tool, self._clock.monotonic()
        deadline: Deadline | None = None
        permit: Permit | None = None
        if tool.enforced:
            deadline = of_attempt(tool, call.incoming.arrived, started)
            if deadline.at <= started:
                progress.failed(deadline.problem, agent_waited_for=True)
                return deadline.problem
            allowed = tool.circuit.acquire(started, deadline.at)
            if isinstance(allowed, Rejected):
                refused = Problem(Reason.CircuitOpen, allowed.reason, allowed.retry_after_s)
                progress.failed(refused)
                return refused
            permit = allowed
        progress.attempts += 1
        outcome = Outcome.NEUTRAL
        try:
            watch = Watch(self._clock, deadline, tool.idle_s)
            problem = await attempt(
                self._pool, request, connect_s=tool.connect_s, watch=watch, carry=relay.carry
            )
            if problem is not None:
                problem = self._understood(call, problem, reply, progress)
            outcome = progress.result.breaker
        finally:
            progress.upstream_s = self._clock.monotonic() - started
            self._settle(call, permit, outcome, progress)
        return problem

    def _understood(self, call: ToolCall, problem: Problem, reply: Reply, progress: Progress) -> Problem:
        """Whose fault it is: an upload that the agent spoils breaks the connection to the tool, too."""
        body = call.incoming.body
        if body.problem is not None:
            problem = body.problem
        in_time = problem.reason not in _TIMEOUTS
        progress.failed(problem, agent_waited_for=not in_time and (body.waiting or reply.waiting))
        if not in_time and call.mcp is not None and not call.mcp.modern:
            self._canceller.send(call, call.mcp)
        return problem

    def _settle(self, call: ToolCall, permit: Permit | None, outcome: Outcome, progress: Progress) -> None:
        reason, error = progress.result.reason, progress.error
        cause = f"{reason}: {error}" if reason and error else None
        call.tool.circuit.settle(permit, outcome, cause)

    def _record(self, call: ToolCall, reply: Reply, progress: Progress) -> None:
        now = self._clock.monotonic()
        incoming, result = call.incoming, progress.result
        duration_ms = (now - incoming.arrived) * 1000
        upstream_ms = None if progress.upstream_s is None else progress.upstream_s * 1000
        call.tool.circuit.count(now, result.outcome, duration_ms if progress.attempts else None)
        traceparent = incoming.noted.get(b"traceparent")
        trace = _TRACEPARENT.match(traceparent) if traceparent else None
        self._recorder.call(
            CallRecord(
                policy=call.server.policy,
                server=call.server.name,
                tool=call.tool.name,
                protocol="HTTP" if call.mcp is None else "MCP",
                outcome=result.outcome,
                reason=result.reason,
                status=progress.status,
                started_at_ms=incoming.arrived_ms,
                duration_ms=duration_ms,
                queued_ms=progress.queued_s * 1000,
                upstream_ms=upstream_ms,
                attempts=progress.attempts,
                argument_keys=call.argument_keys,
                request_bytes=progress.request_bytes,
                response_bytes=reply.sent_bytes,
                redacted_request=progress.redacted_request,
                redacted_response=progress.redacted_response or {},
                session=incoming.text(b"mcp-session-id") or None if call.mcp else None,
                trace_id=trace[1].decode() if trace else None,
                error=progress.error,
            )
        )
