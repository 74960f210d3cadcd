"""All attempts of one call: each under a permit of its own, all of them and the waits between under one deadline."""

import asyncio
import random
from typing import NamedTuple

from toolpolicy_sidecar import classify, deadline
from toolpolicy_sidecar.attempt import attempt
from toolpolicy_sidecar.call import McpCall, Reply, ToolCall
from toolpolicy_sidecar.cleanse import without
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.idempotency import keyed
from toolpolicy_sidecar.mcp.cancel import Canceller
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.race import Race
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.relay.http import HttpRelay
from toolpolicy_sidecar.relay.mcp import McpRelay
from toolpolicy_sidecar.resilience.breaker import Outcome, Permit, Rejected
from toolpolicy_sidecar.resilience.hedge import allowed
from toolpolicy_sidecar.resilience.retry import Ended, Failed, again
from toolpolicy_sidecar.resilience.retry_after import retry_after_s
from toolpolicy_sidecar.rules import decide
from toolpolicy_sidecar.upstream.exchange import Request, Response, Upstream
from toolpolicy_sidecar.upstream.headers import Header

_TIMEOUTS = {Reason.TotalTimeout, Reason.AttemptTimeout, Reason.IdleTimeout}


class Means(NamedTuple):
    """What attempts are made with."""

    pool: Upstream
    clock: Clock
    canceller: Canceller
    rng: random.Random


class Hedging(NamedTuple):
    """The second attempt of a race."""

    permit: Permit | None
    began: float
    mcp: McpCall | None


class Attempts:
    __slots__ = (
        "_agent_s",
        "_asked_s",
        "_began",
        "_call",
        "_clock",
        "_delay_s",
        "_hedging",
        "_keyed",
        "_mcp",
        "_means",
        "_permit",
        "_progress",
        "_relay",
        "_reply",
        "_resendable",
        "_retry",
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
        self._means, self._clock = means, means.clock
        self._retry = call.tool.rules.retry
        self._total = total
        self._mcp = call.mcp
        self._keyed = self._resendable = False
        self._permit: Permit | None = None
        self._hedging: Hedging | None = None
        self._delay_s: float | None = None
        self._began = self._agent_s = 0.0
        self._asked_s: float | None = None

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
        problem = await self._attempt(self._timed(request, headers, until.at - now), until, started)
        try:
            while problem is not None and self._delay_s is not None:
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
                problem = await self._attempt(self._timed(request, headers, until.at - now), until, started)
        finally:
            if call.mcp is not None and self._mcp is not call.mcp:
                self._means.canceller.forget(call, call.mcp.identifier)
        return problem

    def _refused(self, until: deadline.Deadline, now: float) -> Problem | None:
        """None: there is a permit, if there is a circuit breaker."""
        if until.at <= now:
            return until.problem
        allowed = self._call.tool.circuit.acquire(now, until.at)
        if isinstance(allowed, Rejected):
            return Problem(Reason.CircuitOpen, allowed.reason, allowed.retry_after_s)
        self._permit = allowed
        if allowed is not None and allowed.would_reject is not None:
            self._progress.shadow = (Reason.CircuitOpen,)
        return None

    async def _attempt(self, request: Request, until: deadline.Deadline, started: float) -> Problem | None:
        """Under a permit that is settled in any case, and before the agent hears of a failure: its next call finds
        the circuit as this one left it."""
        call, progress = self._call, self._progress
        progress.attempts += 1
        progress.result, progress.error = classify.SUCCESS, None
        self._delay_s = self._asked_s = None
        self._began, self._agent_s = self._clock.monotonic(), self._waited_for_agent_s()
        outcome = Outcome.NEUTRAL
        try:
            watch = deadline.Watch(self._clock, until, call.tool.idle_s)
            upstream = self._upstream(request, until)
            problem = await attempt(
                upstream, request, connect_s=call.tool.connect_s, watch=watch, carry=self._carry
            )
            if problem is not None and self._delay_s is None:
                problem = self._understood(problem)
            outcome = progress.result.breaker
        finally:
            progress.upstream_s = self._clock.monotonic() - started
            self._settle(outcome)
            if self._hedging is not None:
                self._drop_hedge(self._hedging)
        # What was answered was judged by its head.
        if problem is not None and not problem.answered and self._delay_s is None:
            self._delay_s = self._planned(problem.reason, self._clock.monotonic(), 0.0)
        return problem

    def _upstream(self, request: Request, until: deadline.Deadline) -> Upstream:
        """The first attempt may get a second one beside it."""
        retry, hedge, pool = self._retry, self._call.tool.circuit.hedge, self._means.pool
        if retry is None or retry.hedge is None or hedge is None or self._progress.attempts != 1:
            return pool
        repeatable = retry.idempotent and self._resendable and retry.max_attempts > 1
        due = hedge.due(self._began, until.at, repeatable=repeatable)
        if due is not None:
            due = max(due, self._began + retry.hedge.not_before_ms / 1000)

        def second() -> Request | None:
            return self._hedged(request, until)

        return Race(pool, self._clock, hedge, due=due, second=second, won=self._hedge_won)

    def _hedged(self, request: Request, until: deadline.Deadline) -> Request | None:
        """Under a permit of its own, and paid from the budget of retries."""
        call, now = self._call, self._clock.monotonic()
        circuit = call.tool.circuit
        if until.at <= now or decide(call, now) is not None:
            return None
        closed = circuit.state(now) == "Closed"
        if not allowed(call.server.retry_budget, now, answer_began=False, circuit_closed=closed):
            return None
        permit = circuit.acquire(now, until.at)
        if isinstance(permit, Rejected):
            return None
        self._hedging = Hedging(permit, now, self._mcp)
        self._progress.attempts += 1
        self._progress.hedge = "Lost"
        if call.mcp is not None and isinstance(self._relay, McpRelay):
            identifier = f'"{self._identifier()}"'.encode()
            self._hedging = Hedging(permit, now, call.mcp._replace(identifier=identifier))
            request = self._relay.again(request, identifier)
        # The last header is the time that is left.
        return self._timed(request, request.headers[:-1], until.at - now)

    def _hedge_won(self) -> None:
        """The two change places: what follows is about the attempt whose answer counts."""
        hedging = self._hedging
        if hedging is None:
            return
        self._hedging = Hedging(self._permit, self._began, self._mcp)
        self._permit, self._began, self._mcp = hedging
        self._progress.hedge = "Won"
        if self._mcp is not None:
            self._now_known_as(self._mcp.identifier)

    def _drop_hedge(self, hedging: Hedging) -> None:
        """The attempt that did not count says nothing about the tool."""
        self._hedging = None
        self._call.tool.circuit.settle(hedging.permit, Outcome.NEUTRAL, None, duration_s=0.0)
        if hedging.mcp is not None and not hedging.mcp.modern:
            self._means.canceller.send(self._call, hedging.mcp, "another attempt was made")

    def _now_known_as(self, identifier: bytes) -> None:
        """To the server; the agent knows nothing of it."""
        call, relay = self._call, self._relay
        if call.mcp is not None and isinstance(relay, McpRelay):
            self._means.canceller.rename(call, call.mcp.identifier, identifier)
            relay.expect(identifier)

    async def _carry(self, response: Response, watch: deadline.Watch) -> None:
        """Of a failed answer that is to be tried again nothing reaches the agent. Its connection is closed: a new one
        may lead to another, healthy replica. Raises Stopped, UpstreamFailure."""
        if response.status >= 429:
            self._look(response)
        await self._relay.carry(response, watch)

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
        self._settle(found.breaker)
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
        if not in_time and self._mcp is not None and not self._mcp.modern:
            self._means.canceller.send(self._call, self._mcp, "timed out")
        return problem

    def _settle(self, outcome: Outcome) -> None:
        reason, error = self._progress.result.reason, self._progress.error
        cause = f"{reason}: {error}" if reason and error else None
        took_s = self._clock.monotonic() - self._began - (self._waited_for_agent_s() - self._agent_s)
        self._call.tool.circuit.settle(
            self._permit, outcome, cause, duration_s=took_s, retry_after_s=self._asked_s
        )
        self._permit = None

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
            headers, self._keyed = keyed(headers, self._retry.key_header, self._identifier)
        return headers

    def _timed(self, request: Request, headers: tuple[Header, ...], left_s: float) -> Request:
        """Tells the tool how long its answer is waited for."""
        left = (self._call.server.timeout_header, b"%d" % max(1, int(left_s * 1000)))
        return Request(request.origin, request.method, request.target, (*headers, left), request.body)

    def _renewed(self, request: Request) -> Request:
        call, relay = self._call, self._relay
        if call.mcp is None or not isinstance(relay, McpRelay):
            return request
        identifier = f'"{self._identifier()}"'.encode()
        self._mcp = call.mcp._replace(identifier=identifier)
        request = relay.again(request, identifier)
        self._now_known_as(identifier)
        return request

    def _identifier(self) -> str:
        return f"{self._means.rng.getrandbits(128):032x}"


HEAD_SAYS = {Reason.ServerError, Reason.Throttled}
"""Failures that are known before the body of the answer."""
_ENDED = {Reason.CircuitOpen: Ended.CircuitOpen, Reason.TotalTimeout: Ended.NoTime}


def asked_s(response: Response, clock: Clock) -> float | None:
    """Seconds from now until which the server asks to be left alone; None: it does not say."""
    header = response.header(b"retry-after")
    return None if header is None else retry_after_s(header.decode("latin-1"), clock.unix_ms() / 1000)
