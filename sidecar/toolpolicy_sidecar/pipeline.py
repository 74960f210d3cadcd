"""From a recognised call to an answer and a record: rules, slot, attempts, answer, in this order."""

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial
from math import ceil

from toolpolicy_sidecar import classify, deadline, render
from toolpolicy_sidecar.admission import Admission
from toolpolicy_sidecar.attempts import Attempts, Means
from toolpolicy_sidecar.call import Passing, Reply, ToolCall, Upgrade
from toolpolicy_sidecar.caller import CallerHeaders
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.fallback.choice import Fallbacks
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.mcp.cancel import Canceller
from toolpolicy_sidecar.preview import Previewed, Previews, Sampled
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.reasons import MEANINGS, Reason
from toolpolicy_sidecar.record import CallRecord, Recorder, RefusedRequest
from toolpolicy_sidecar.relay import passing as passing_relay
from toolpolicy_sidecar.relay.http import HttpRelay
from toolpolicy_sidecar.relay.mcp import McpRelay
from toolpolicy_sidecar.relay.upgrade import UpgradeRelay
from toolpolicy_sidecar.render import Rendered
from toolpolicy_sidecar.rules import decide
from toolpolicy_sidecar.telemetry.call_trace import CallTrace
from toolpolicy_sidecar.telemetry.sampling import kept
from toolpolicy_sidecar.telemetry.trace_context import trace_id_of
from toolpolicy_sidecar.telemetry.tracer import Tracer
from toolpolicy_sidecar.untouched import Untouched
from toolpolicy_sidecar.upstream.exchange import Upstream

log = logging.getLogger("toolpolicy")


class Pipeline:
    def __init__(
        self,
        pool: Upstream,
        limits: Limits,
        clock: Clock,
        recorder: Recorder,
        rng: random.Random | None = None,
        *,
        callers: CallerHeaders | None = None,
        tracer: Tracer | None = None,
        previewed: Callable[[Previewed], None] | None = None,
    ) -> None:
        """`rng`: for back-off and for identifiers, the system's own unless a test says otherwise. `tracer` None: no
        spans are made, and trace contexts pass as they come. `previewed` None: no calls are sampled."""
        self._callers, self._tracer = callers or CallerHeaders(), tracer
        self.begun = 0
        self._pool, self._limits, self._clock, self._recorder = pool, limits, clock, recorder
        self._canceller = Canceller(pool)
        self._fallbacks = Fallbacks(clock, self.call)
        self._previews = None if previewed is None else Previews(previewed)
        self._means = Means(pool, clock, self._canceller, rng or random.SystemRandom())

    async def close(self) -> None:
        await self._canceller.close()
        if self._previews is not None:
            await self._previews.close()

    async def call(self, call: ToolCall, reply: Reply) -> None:
        """Answers a tool call, and records it exactly once. Raises CancelledError when the agent hangs up."""
        self.begun += 1
        progress = Progress()
        preview = call.server.preview
        if preview is not None and self._previews is not None and preview.takes(self._means.rng.random()):
            reply = progress.sampled = Sampled(reply)
        if self._tracer is not None:
            progress.trace = self._tracer.begin(call)
        relay: HttpRelay | McpRelay
        if call.mcp is not None:
            relay = McpRelay(call, call.mcp, reply, progress, self._limits.body_bytes)
        elif call.incoming.upgrade is None:
            relay = HttpRelay(call, reply, progress, self._limits.body_bytes)
        else:
            relay = UpgradeRelay(call, call.incoming.upgrade, reply, progress, self._limits.body_bytes)
        try:
            problem = await self._tried(call, relay, reply, progress)
            if problem is not None:
                instead: Rendered | None = None
                if relay.open:
                    instead = await self._fallbacks.choose(call, relay, problem, progress)
                await relay.answer(instead or render.of_call(call, problem))
            elif progress.good is not None and progress.result.outcome == "success":
                self._fallbacks.keep(call, await relay.said(), progress.good)
        except (asyncio.CancelledError, ConnectionError):
            progress.status, progress.result, progress.error = 499, classify.CLIENT_GONE, None
            raise
        except Exception:
            log.exception("a call failed in the sidecar itself")
            problem = Problem(Reason.InternalError, "the sidecar failed, see its log")
            progress.failed(problem)
            await relay.answer(render.of_call(call, problem))
        finally:
            if not progress.recorded:
                self._record(call, reply, progress)
            if preview is not None and self._previews is not None and progress.sampled is not None:
                about = partial(Previewed, call.server.policy, call.server.name, call.tool.name)
                self._previews.look(preview, progress.sampled, about)

    async def passing(self, passing: Passing, reply: Reply) -> None:
        passing = self._canceller.heard(passing)
        problem = await passing_relay.relay(
            passing, reply, self._pool, self._clock, self._limits.body_bytes, self._recorder
        )
        if problem is not None:
            status = MEANINGS[problem.reason].status
            self._recorder.refused(RefusedRequest(reason=problem.reason, status=status, error=problem.detail))

    async def _tried(
        self, call: ToolCall, relay: HttpRelay | McpRelay, reply: Reply, progress: Progress
    ) -> Problem | None:
        """None: the agent has the tool's own answer."""
        if not call.tool.enforced:
            return await self._passed(call, relay, reply, progress)
        refused = decide(call, self._clock.monotonic())
        if refused is None:
            total = deadline.of_call(call.tool, call.incoming)
            admission = Admission(call.tool.slots, call.server.slots, total.at, progress)
            try:
                request = await relay.request()
                if progress.sampled is not None:
                    progress.sampled.sent(request)
                if not admission.enter(self._clock.monotonic()):
                    async with self._canceller.waiting(call):
                        await admission.wait()
                    refused = decide(call, self._clock.monotonic())  # it may be switched off by now
                if refused is None:
                    attempts = Attempts(call, relay, reply, progress, self._means, total=total)
                    problem = await attempts.answered(request)
                    if call.incoming.upgrade is not None:
                        await self._while_open(call, call.incoming.upgrade, reply, progress)
                    return problem
            except Stopped as stopped:
                refused = stopped.problem
            finally:
                admission.leave()
        progress.failed(refused)
        return refused

    async def _passed(
        self, call: ToolCall, relay: HttpRelay | McpRelay, reply: Reply, progress: Progress
    ) -> Problem | None:
        try:
            untouched = Untouched(call, relay, reply, progress, self._means)
            problem = await untouched.answered(self._limits.body_bytes)
        except Stopped as stopped:
            problem = stopped.problem
            progress.failed(problem)
        if call.incoming.upgrade is not None:
            await self._while_open(call, call.incoming.upgrade, reply, progress)
        return problem

    async def _while_open(self, call: ToolCall, upgrade: Upgrade, reply: Reply, progress: Progress) -> None:
        """A WebSocket is a call until its server has agreed; it keeps its slots for as long as it is open."""
        if upgrade.opened:
            self._record(call, reply, progress)
            await upgrade.closed()

    def _record(self, call: ToolCall, reply: Reply, progress: Progress) -> None:
        progress.recorded = True
        now = self._clock.monotonic()
        incoming, result = call.incoming, progress.result
        # Rounded up: no part of a call outlasts it.
        duration_ms = ceil((now - incoming.arrived) * 1e6) / 1000
        upstream_s = progress.upstream_s
        call.tool.circuit.count(now, result.outcome, duration_ms if progress.attempts else None)
        caller, trace = self._callers.caller(call), progress.trace
        self._tell(
            call,
            trace,
            CallRecord(
                policy=call.server.policy,
                server=call.server.name,
                tool=call.tool.name,
                protocol="HTTP" if call.mcp is None else "MCP",
                outcome=result.outcome,
                reason=result.reason,
                fallback=progress.fallback,
                fallback_missed=progress.fallback_missed,
                stands_for=call.stands_for,
                status=progress.status,
                started_at_ms=incoming.arrived_ms,
                duration_ms=duration_ms,
                queued_ms=round(progress.queued_s * 1000, 3) if progress.queued_s else None,
                upstream_ms=None if upstream_s is None else round(upstream_s * 1000, 3),
                attempts=progress.attempts,
                retries=progress.retries,
                retry_ended=progress.retry_ended,
                hedge=progress.hedge,
                argument_keys=call.argument_keys,
                request_bytes=progress.request_bytes,
                response_bytes=reply.sent_bytes,
                redacted_request=progress.redacted_request,
                redacted_response=progress.redacted_response,
                shadow=progress.shadow,
                shadow_redacted_request=progress.shadow_redacted_request,
                shadow_redacted_response=progress.shadow_redacted_response,
                session=caller.session,
                user=caller.user,
                agent=caller.agent,
                trace_id=trace_id_of(call) if trace is None else trace.trace_id,
                own_trace=trace is not None and trace.began_here,
                traced=trace is not None
                and kept(result.outcome, sampled=trace.sampled, for_another=call.stands_for is not None),
                error=progress.error,
            ),
        )

    def _tell(self, call: ToolCall, trace: CallTrace | None, record: CallRecord) -> None:
        self._recorder.call(record)
        if trace is not None and self._tracer is not None and (record.traced or trace.outer is not None):
            self._tracer.end(trace, call, record)
