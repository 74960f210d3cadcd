"""All attempts of one call: each under a permit of its own, all of them and the waits between under one deadline."""

import asyncio
import random
from collections.abc import Awaitable
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from toolpolicy_sidecar import classify, deadline
from toolpolicy_sidecar.attempt import attempt
from toolpolicy_sidecar.call import Reply, ToolCall
from toolpolicy_sidecar.cleanse import without
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.hedging import Live, SecondAttempt, timed
from toolpolicy_sidecar.idempotency import identifier, keyed
from toolpolicy_sidecar.mcp.cancel import Canceller
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.race import Race
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.relay.http import HttpRelay
from toolpolicy_sidecar.relay.mcp import McpRelay
from toolpolicy_sidecar.resilience.breaker import Outcome, Rejected
from toolpolicy_sidecar.resilience.retry import Ended, Failed, again
from toolpolicy_sidecar.resilience.retry_after import retry_after_s
from toolpolicy_sidecar.rules import decide
from toolpolicy_sidecar.telemetry.call_trace import AttemptTrace, CallTrace
from toolpolicy_sidecar.upstream.exchange import Request, Response, Upstream
from toolpolicy_sidecar.upstream.headers import Header

_NEUTRAL = Outcome.NEUTRAL
_TIMEOUTS = {Reason.TotalTimeout, Reason.AttemptTimeout, Reason.IdleTimeout}


class Means(NamedTuple):
    """What attempts are made with."""

    pool: Upstream
    clock: Clock
    canceller: Canceller
    rng: random.Random


class Attempts:
    __slots__ = (
        "_agent_s",
        "_asked_s",
        "_call",
        "_clock",
        "_delay_s",
        "_keyed",
        "_live",
        "_means",
        "_progress",
        "_relay",
        "_reply",
        "_resendable",
        "_retry",
        "_second",
        "_status",
        "_total",
    )

    def __init__(
        self,
        call: ToolCall,
        relay: HttpRelay | McpRelay,
        reply: Reply,
        progress: Progress,
        means: Means,
        *,
        total: deadline.Deadline,
    ) -> None:
        """`total`: over all attempts."""
        self._call, self._relay, self._reply, self._progress = call, relay, reply, progress
        self._means, self._clock, self._total = means, means.clock, total
        # An agent that wants a WebSocket knows how to ask again; whatever is open has one connection.
        self._retry = call.tool.rules.retry if call.incoming.upgrade is None else None
        self._keyed = self._resendable = False
        self._live = Live(None, 0.0, call.mcp)
        self._second: SecondAttempt | None = None
        self._delay_s: float | None = None
        self._asked_s: float | None = None
        self._agent_s = 0.0

    async def answered(self, request: Request) -> Problem | None:
        """None: the agent has the tool's own answer. Else how the last attempt failed, or why there was none."""
        call, progress, now = self._call, self._progress, self._clock.monotonic()
        started = now
        until = deadline.of_attempt(self._total, call.tool.attempt_s, now)
        refused = self._refused(until, now)
        if refused is not None:
            progress.failed(refused, agent_waited_for=True)
            return refused
        call.server.retry_budget.deposit(now)
        headers = self._headers(request)
        try:
            problem = await self._attempt(request, headers, until, started)
            while problem is not None and self._delay_s is not None:
                async with self._means.canceller.waiting(call):
                    await asyncio.sleep(self._delay_s)
                now = self._clock.monotonic()
                until = deadline.of_attempt(self._total, call.tool.attempt_s, now)
                # What is true of the tool may have changed since the last attempt.
                refused = decide(call, now) or self._refused(until, now)
                if refused is not None:  # what has happened says more than why it is not tried again
                    progress.retry_ended = _ENDED.get(refused.reason, Ended.Refused)
                    return problem._replace(retry_after_s=refused.retry_after_s)
                progress.retries += (problem.reason,)
                request = self._renewed(request)
                problem = await self._attempt(request, headers, until, started)
        finally:
            if call.mcp is not None and progress.attempts > 1:
                self._means.canceller.forget(call, call.mcp.identifier)
        return problem

    def _refused(self, until: deadline.Deadline, now: float) -> Problem | None:
        """None: there is a permit, if there is a circuit breaker."""
        if until.at <= now:
            return until.problem
        allowed = self._call.tool.circuit.acquire(now, until.at)
        if isinstance(allowed, Rejected):
            return Problem(Reason.CircuitOpen, allowed.reason, allowed.retry_after_s)
        if allowed is not None and allowed.would_reject is not None:
            self._progress.shadow = (Reason.CircuitOpen,)
        self._live = Live(allowed, now, self._live.mcp)
        return None

    async def _attempt(
        self, request: Request, headers: tuple[Header, ...], until: deadline.Deadline, started: float
    ) -> Problem | None:
        """Under a permit that is settled in any case, and before the agent hears of a failure: its next call finds
        the circuit as this one left it."""
        call, progress = self._call, self._progress
        progress.attempts += 1
        progress.result, progress.error = classify.SUCCESS, None
        self._delay_s = self._asked_s = None
        self._status = 0  # no answer has begun
        self._agent_s = self._waited_for_agent_s()
        trace, began = progress.trace, self._live.began
        if trace is None:
            request = timed(call, request, headers, until.at - began)
        else:
            line = trace.first if progress.attempts == 1 else trace.another()
            request = trace.carried(timed(call, request, headers, until.at - began, line), line)
        outcome = _NEUTRAL
        try:
            problem = await attempt(
                self._upstream(request, until),
                request,
                connect_s=call.tool.connect_s,
                watch=deadline.Watch(self._clock, until, call.tool.idle_s),
                carry=self._carry,
            )
            if problem is not None and self._delay_s is None:
                problem = self._understood(problem)
            outcome = progress.result.breaker
        finally:
            now = self._clock.monotonic()
            progress.upstream_s = now - started
            if trace is not None:
                self._traced(trace, line, began, now)
            self._settle(outcome, now)
            if self._second is not None:
                self._drop(self._second)
        # What was answered was judged by its head.
        if problem is not None and not problem.answered and self._delay_s is None:
            self._delay_s = self._planned(problem.reason, self._clock.monotonic(), 0.0)
        return problem

    def _upstream(self, request: Request, until: deadline.Deadline) -> Upstream:
        """The first attempt may get a second one beside it."""
        retry, pool = self._retry, self._means.pool
        if retry is None or retry.hedge is None or self._progress.attempts != 1:
            return pool
        hedge = self._call.tool.circuit.hedge
        if hedge is None:
            return pool
        began = self._live.began
        repeatable = retry.idempotent and self._resendable and retry.max_attempts > 1
        due = hedge.due(began, until.at, repeatable=repeatable)
        if due is not None:
            due = max(due, began + retry.hedge.not_before_ms / 1000)
        second = self._second = SecondAttempt(self._call, self._relay, self._progress, request, until)

        def make() -> Request | None:
            made, call = second.made(self._clock, self._means.rng), self._call
            if call.mcp is not None and second.live is not None and second.live.mcp is not None:
                first = call.mcp.identifier
                self._means.canceller.rename(call, first, first, second.live.mcp.identifier)
            return made

        def won() -> None:
            """The two change places: what follows is about the attempt whose answer counts."""
            if second.live is None:
                return
            self._live, second.live = second.live, self._live
            self._progress.hedge = "Won"
            if self._live.mcp is not None:
                self._now_known_as(self._live.mcp.identifier)

        return Race(pool, self._clock, hedge, due=due, second=make, won=won)

    def _traced(self, trace: CallTrace, line: bytes, began: float, now: float) -> None:
        """The attempt that `began` is over, and the one beside it, if there was one."""
        second, status = self._second, self._status
        reason, error = self._progress.result.reason, self._progress.error
        if second is None or second.live is None:
            trace.attempts += (AttemptTrace(line, began, now, status, reason, error),)
        elif self._progress.hedge == "Won":  # they have changed places
            first = AttemptTrace(line, began, now, dropped=True)
            won = AttemptTrace(second.line, self._live.began, now, status, reason, error, beside=True)
            trace.attempts += (first, won)
        else:
            first = AttemptTrace(line, began, now, status, reason, error)
            lost = AttemptTrace(second.line, second.live.began, now, beside=True, dropped=True)
            trace.attempts += (first, lost)

    def _drop(self, second: SecondAttempt) -> None:
        """The attempt that did not count says nothing about the tool."""
        loser, self._second = second.live, None
        if loser is None:
            return
        self._call.tool.circuit.settle(loser.permit, _NEUTRAL, None, duration_s=0.0)
        if loser.mcp is not None and not loser.mcp.modern:
            self._means.canceller.send(self._call, loser.mcp, "another attempt was made")

    def _now_known_as(self, identifier: bytes) -> None:
        """To the server; the agent knows nothing of it."""
        call, relay = self._call, self._relay
        if call.mcp is not None and isinstance(relay, McpRelay):
            self._means.canceller.rename(call, call.mcp.identifier, identifier)
            relay.expect(identifier)

    def _carry(self, response: Response, watch: deadline.Watch) -> Awaitable[None]:
        """Of a failed answer that is to be tried again nothing reaches the agent. Its connection is closed: a new one
        may lead to another, healthy replica. Raises Stopped, UpstreamFailure."""
        self._status = response.status
        if response.status >= 429:
            self._look(response)
        return self._relay.carry(response, watch)

    def _look(self, response: Response) -> None:
        """Raises Stopped when the answer is to be tried again."""
        status, circuit = response.status, self._call.tool.circuit
        now = self._clock.monotonic()
        self._asked_s = asked_s(response, self._clock)
        wait_s = circuit.throttle.heard(now, status, self._asked_s)
        found = classify.of_status(status, self._call.tool.rules)
        if self._retry is None or found.reason not in HEAD_SAYS or status == 501:
            return
        self._progress.result, self._progress.error = found, f"HTTP {status}"
        self._settle(found.breaker, now)
        self._delay_s = self._planned(found.reason, now, wait_s)
        if self._delay_s is not None:
            raise Stopped(Problem(found.reason, f"its server answered HTTP {status}"))

    def _understood(self, problem: Problem) -> Problem:
        """Whose fault it is: an upload that the agent spoils breaks the connection to the tool, too."""
        body = self._call.incoming.body
        if body.problem is not None:
            problem = body.problem
        in_time = problem.reason not in _TIMEOUTS
        waited_for = not in_time and (body.waiting or self._reply.waiting)
        self._progress.failed(problem, agent_waited_for=waited_for)
        known = self._live.mcp
        if not in_time and known is not None and not known.modern:
            self._means.canceller.send(self._call, known, "timed out")
        return problem

    def _settle(self, outcome: Outcome, now: float) -> None:
        """A second time has no effect: the permit knows."""
        live, reason, error = self._live, self._progress.result.reason, self._progress.error
        took_s = now - live.began - (self._waited_for_agent_s() - self._agent_s)
        self._call.tool.circuit.settle(
            live.permit,
            outcome,
            f"{reason}: {error}" if reason and error else None,
            duration_s=took_s,
            retry_after_s=self._asked_s,
        )

    def _waited_for_agent_s(self) -> float:
        """So far: a tool is not slow because the agent is."""
        return self._call.incoming.body.waited_s + self._reply.waited_s

    def _planned(self, reason: Reason, now: float, wait_s: float) -> float | None:
        """Seconds until the next attempt; None: this was the last one."""
        retry, call = self._retry, self._call
        if retry is None:
            return None
        failed = Failed(
            reason,
            attempts=self._progress.attempts,
            answered=self._reply.started,
            keyed=self._keyed,
            resendable=self._resendable,
            circuit_open=self._circuit_open(now),
            now=now,
            deadline=self._total.at,
            wait_s=wait_s,
        )
        decision = again(retry, failed, call.server.retry_budget, self._means.rng.random())
        if isinstance(decision, Ended):
            self._progress.retry_ended = decision
            return None
        return decision

    def _circuit_open(self, now: float) -> bool:
        breaker = self._call.tool.rules.breaker
        if breaker is None or breaker.mode == "Observe":
            return False
        return self._call.tool.circuit.state(now) == "Open"

    def _headers(self, request: Request) -> tuple[Header, ...]:
        """The same in every attempt."""
        self._resendable = request.body is None or isinstance(request.body, bytes)
        headers = request.headers
        if deadline.TIMEOUT_HEADER in self._call.incoming.noted:
            headers = without(headers, deadline.TIMEOUT_HEADER)
        own = self._call.server.timeout_header.lower()
        if own != deadline.TIMEOUT_HEADER:
            headers = without(headers, own)
        if self._retry is not None and self._retry.key_header is not None:
            headers, self._keyed = keyed(
                headers, self._retry.key_header, partial(identifier, self._means.rng)
            )
        return headers

    def _renewed(self, request: Request) -> Request:
        call, relay = self._call, self._relay
        if call.mcp is None or not isinstance(relay, McpRelay):
            return request
        named = f'"{identifier(self._means.rng)}"'.encode()
        self._live = Live(self._live.permit, self._live.began, replace(call.mcp, identifier=named))
        request = relay.again(request, named)
        self._now_known_as(named)
        return request


HEAD_SAYS = {Reason.ServerError, Reason.Throttled}
"""Failures that are known before the body of the answer."""
_ENDED = {Reason.CircuitOpen: Ended.CircuitOpen, Reason.TotalTimeout: Ended.NoTime}


def asked_s(response: Response, clock: Clock) -> float | None:
    """Seconds from now until which the server asks to be left alone; None: it does not say."""
    header = response.header(b"retry-after")
    return None if header is None else retry_after_s(header.decode("latin-1"), clock.unix_ms() / 1000)
