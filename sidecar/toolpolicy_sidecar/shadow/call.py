"""The shadow of a call: it goes where Enforce would have led the call, and notes where that is another way.

rules → redaction → slots → circuit → time limits → answer → retry or fallback

Where Enforce would have ended the call, its shadow is over: it gives back its slots and its permit, and what the call
itself comes to then tells the shadow's circuit nothing. So circuits, queues and budgets stand as they would under
Enforce, except where another attempt would have been made: nobody knows what it would have brought.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

from msgspec.structs import replace

from toolpolicy_sidecar import classify, cleanse, deadline
from toolpolicy_sidecar.admission import sample_of
from toolpolicy_sidecar.aside import aside
from toolpolicy_sidecar.attempts import HEAD_SAYS, Means, asked_s
from toolpolicy_sidecar.call import Reply, ToolCall
from toolpolicy_sidecar.fallback import occasion
from toolpolicy_sidecar.idempotency import keyed
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.reasons import Reason, Would
from toolpolicy_sidecar.resilience.adaptive import Sample
from toolpolicy_sidecar.resilience.breaker import Outcome, Permit, Rejected
from toolpolicy_sidecar.resilience.concurrency import Ticket
from toolpolicy_sidecar.resilience.hedge import allowed
from toolpolicy_sidecar.resilience.retry import Ended, Failed, again
from toolpolicy_sidecar.rules import decide
from toolpolicy_sidecar.shadow.ear import Ear, Overheard
from toolpolicy_sidecar.shadow.limits import ShadowWatch
from toolpolicy_sidecar.slots import Slots
from toolpolicy_sidecar.upstream.exchange import Request, Response


class ShadowCall:
    """Call `begin`, `watch`, `head`, `end` in this order, and `close` whatever happens. Nothing here raises."""

    def __init__(
        self, call: ToolCall, reply: Reply, progress: Progress, means: Means, limit_bytes: int
    ) -> None:
        self._call, self._reply, self._progress = call, reply, progress
        self._means, self._clock, self._limit_bytes = means, means.clock, limit_bytes
        self._over = False
        self._held: list[tuple[Slots, Ticket]] = []
        self._permit: Permit | None = None
        self._total = deadline.of_call(call.tool, call.incoming)
        self._watch: ShadowWatch | None = None
        self._ear: Ear | None = None
        self._uploaded: bytes | None = None
        self._request: Request | None = None
        self._late: asyncio.TimerHandle | None = None
        self._began = self._agent_s = 0.0

    async def begin(self, request: Request) -> Request:
        """What is sent in its place: the same, overheard."""
        now = self._clock.monotonic()
        self._request = request
        refused = decide(self._call, now)
        if refused is not None:
            self._answer(refused.reason)
            return request
        redactor = self._call.tool.redactor
        if redactor is not None and redactor.on_request:
            if request.body is not None and not isinstance(request.body, bytes):
                request = replace(request, body=self._overheard(request.body))
            else:
                await self._scan_request(request.body or b"")
        self._enter(now)
        self._acquire(now)
        return request

    def watch(self) -> deadline.Watch:
        """Of the attempt that begins now."""
        now = self._clock.monotonic()
        self._began, self._agent_s = now, self._waited_for_agent_s()
        until = deadline.of_attempt(self._total, self._call.tool.attempt_s, now)
        self._watch = ShadowWatch(self._clock, until, self._call.tool, self._passed, self._answer_began)
        self._plan_hedge(until)
        return self._watch

    def head(self, response: Response) -> Response:
        """What is carried in its place: the same, overheard."""
        if self._over:
            return response
        call, now = self._call, self._clock.monotonic()
        found = classify.of_status(response.status, call.tool.rules)
        if found.reason in HEAD_SAYS and response.status != 501:
            asked = asked_s(response, self._clock)
            wait_s = call.tool.circuit.throttle.heard(now, response.status, asked)
            self._failed(found, f"HTTP {response.status}", wait_s=wait_s, asked=asked)
            return response
        redactor = call.tool.redactor
        listened_to = redactor if redactor is not None and redactor.on_response else None
        bodiless = call.incoming.method == "HEAD" or response.status in {101, 204, 304}
        if (call.mcp is None and listened_to is None) or bodiless:
            return response
        self._ear = Ear(call, listened_to, response, self._limit_bytes)
        return Response(
            response.status,
            response.reason,
            response.headers,
            Overheard(response, self._ear),
            length=response.length,
        )

    async def end(self, problem: Problem | None) -> None:
        """How the call itself ended; None: the agent has the tool's whole answer."""
        if self._watch is not None:
            self._watch.close()
        if self._uploaded is not None:
            await self._scan_request(self._uploaded)
        progress = self._progress
        result = progress.result
        if problem is None and self._ear is not None:
            problem = await self._heard(self._ear)
            result = progress.result if problem is None else classify.of_reason(problem.reason)
        if self._over:
            return
        if problem is not None:
            self._failed(result, problem.detail)
            return
        self._settle(result.breaker, progress.error)
        self._leave(sample_of(progress))
        self._over = True

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        if self._late is not None:
            self._late.cancel()
        if not self._over:  # the agent hung up
            self._settle(Outcome.NEUTRAL, None)
            self._leave(None)
            self._over = True

    def _enter(self, now: float) -> None:
        for slots in (self._call.tool.slots, self._call.server.slots):
            if self._over:
                return
            found = slots.overbook(now, self._total.at)
            self._held.append((slots, found.ticket))
            if found.full is not None:
                self._answer(Reason.ConcurrencyLimit)
            elif found.waits:
                self._note(Would.Queue)

    def _acquire(self, now: float) -> None:
        if self._over:
            return
        until = deadline.of_attempt(self._total, self._call.tool.attempt_s, now)
        if until.at <= now:
            self._answer(until.reason)
            return
        allowed = self._call.tool.circuit.acquire(now, until.at)
        if isinstance(allowed, Rejected):
            self._answer(Reason.CircuitOpen)
            return
        self._permit = allowed
        if allowed is not None and allowed.would_reject is not None:
            self._note(Reason.CircuitOpen)
        self._call.server.retry_budget.deposit(now)

    def _plan_hedge(self, until: deadline.Deadline) -> None:
        retry, hedge = self._call.tool.rules.retry, self._call.tool.circuit.hedge
        if self._over or hedge is None or retry is None or retry.hedge is None:
            return
        repeatable = retry.idempotent and retry.max_attempts > 1 and self._resendable
        due = hedge.due(self._began, until.at, repeatable=repeatable)
        if due is not None:
            wait_s = max(due - self._began, retry.hedge.not_before_ms / 1000)
            self._late = asyncio.get_running_loop().call_later(wait_s, self._would_hedge)

    def _would_hedge(self) -> None:
        call, now = self._call, self._clock.monotonic()
        closed = call.tool.circuit.state(now) == "Closed"
        if not self._over and allowed(
            call.server.retry_budget, now, answer_began=False, circuit_closed=closed
        ):
            self._note(Would.Hedge)

    def _answer_began(self) -> None:
        if self._late is not None:
            self._late.cancel()
        hedge = self._call.tool.circuit.hedge
        if hedge is not None and not self._over:
            hedge.observe(self._clock.monotonic() - self._began)

    def _passed(self, problem: Problem) -> None:
        """A time limit, now."""
        if self._over:
            return
        waiting = self._call.incoming.body.waiting or self._reply.waiting
        connecting = problem.reason is Reason.ConnectTimeout
        result = classify.of_reason(problem.reason, agent_waited_for=waiting and not connecting)
        self._note(problem.reason)
        self._failed(result, problem.detail, out_of_time=True)

    def _failed(
        self,
        result: classify.Class,
        cause: str,
        *,
        wait_s: float = 0.0,
        asked: float | None = None,
        out_of_time: bool = False,
    ) -> None:
        """The attempt, which would have been the only one, or not."""
        now, reason = self._clock.monotonic(), result.reason
        self._settle(result.breaker, f"{reason}: {cause}", asked)
        if reason is not None and result.outcome == "failure":
            if self._would_retry(reason, now, wait_s):
                self._note(Would.Retry)
            elif self._call.tool.rules.fallback is not None and reason in occasion.REASONS:
                self._note(Would.Fallback)
        late = out_of_time or reason is Reason.Throttled
        self._leave(Sample(now - self._began, dropped=True) if late else None)
        self._over = True

    def _would_retry(self, reason: Reason, now: float, wait_s: float) -> bool:
        call, retry, request = self._call, self._call.tool.rules.retry, self._request
        if retry is None or request is None:
            return False
        has_key = retry.key_header is not None and keyed(request.headers, retry.key_header, str)[1]
        observed = call.tool.rules.breaker is not None and call.tool.rules.breaker.mode == "Observe"
        failed = Failed(
            reason,
            attempts=1,
            answered=self._reply.started,
            keyed=has_key,
            resendable=self._resendable,
            circuit_open=not observed and call.tool.circuit.state(now) == "Open",
            now=now,
            deadline=self._total.at,
            wait_s=wait_s,
        )
        fraction = self._means.rng.random()
        return not isinstance(again(retry, failed, call.server.retry_budget, fraction), Ended)

    @property
    def _resendable(self) -> bool:
        """Under Enforce what is to be redacted is read whole."""
        request, redactor = self._request, self._call.tool.redactor
        read_whole = redactor is not None and redactor.on_request
        return read_whole or (request is not None and not isinstance(request.body, AsyncIterator))

    async def _heard(self, ear: Ear) -> Problem | None:
        """Why Enforce would not have passed it on; None: it would."""
        heard, progress = await aside(ear.kept_bytes, ear.end), self._progress
        if not self._over:
            if heard.undecided:
                self._note(Would.Undecided)
            self._hit(heard.hits, request=False)
        problem = heard.problem
        if problem is None:
            if heard.tool_error:
                progress.result = classify.of_tool_error(self._call.tool.rules)
                progress.error = "the tool says no"
            return None
        if not self._over:
            self._note(problem.reason)
        if problem.reason in {
            Reason.IncompleteAnswer,
            Reason.MalformedAnswer,
        }:  # true without Enforce as well
            progress.failed(problem)
        return problem

    async def _scan_request(self, body: bytes) -> None:
        call, redactor = self._call, self._call.tool.redactor
        if redactor is None or self._over:
            return
        incoming, limit_bytes = call.incoming, self._limit_bytes
        kind, encoding = incoming.text(b"content-type"), incoming.text(b"content-encoding")

        def hits() -> Mapping[str, int]:
            if call.mcp is not None:
                return cleanse.mcp_request(redactor, body, incoming.headers)[2]
            path, query, headers = incoming.path, incoming.query, incoming.headers
            return cleanse.http_request(
                redactor, path, query, headers, body, kind, encoding, limit_bytes
            ).hits

        try:
            found = await aside(None if encoding and body else len(body), hits)
        except Stopped as stopped:
            self._answer(stopped.problem.reason)
        else:
            self._hit(found, request=True)

    async def _overheard(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """An upload is scanned when the call is over; it is never longer than `limit_bytes`."""
        kept = []
        async for piece in pieces:
            kept.append(piece)
            yield piece
        self._uploaded = b"".join(kept)

    def _hit(self, hits: Mapping[str, int], *, request: bool) -> None:
        if not hits:
            return
        self._note(Would.Redact)
        if request:
            self._progress.shadow_redacted_request = hits
        else:
            self._progress.shadow_redacted_response = hits

    def _answer(self, reason: Reason) -> None:
        """Enforce would have answered with it by now."""
        self._note(reason)
        if self._call.tool.rules.fallback is not None and reason in occasion.REASONS:
            self._note(Would.Fallback)
        self._settle(Outcome.NEUTRAL, None)
        self._leave(None)
        self._over = True

    def _note(self, decision: Reason | Would) -> None:
        if decision not in self._progress.shadow:
            self._progress.shadow += (decision,)

    def _settle(self, outcome: Outcome, cause: str | None, asked: float | None = None) -> None:
        permit, self._permit = self._permit, None
        took_s = self._clock.monotonic() - self._began - (self._waited_for_agent_s() - self._agent_s)
        self._call.tool.circuit.settle(permit, outcome, cause, duration_s=took_s, retry_after_s=asked)

    def _leave(self, sample: Sample | None) -> None:
        held, self._held = self._held, []
        for slots, ticket in held:
            slots.leave(ticket, sample)

    def _waited_for_agent_s(self) -> float:
        return self._call.incoming.body.waited_s + self._reply.waited_s
