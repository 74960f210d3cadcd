"""From a recognised request to an answer and a record. The only place that awaits between the two."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator

from aiohttp import web

from toolpolicy_sidecar import classify, cleanse, render
from toolpolicy_sidecar.attempt import Attempt, Failed, problem_of
from toolpolicy_sidecar.call import McpCall, Passing, ToolCall
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.mcp import jsonrpc, sse
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import CallRecord, Recorder
from toolpolicy_sidecar.redact.redactor import Redactor, Unscannable
from toolpolicy_sidecar.render import Problem, Rendered
from toolpolicy_sidecar.resilience.breaker import Outcome, Permit, Rejected
from toolpolicy_sidecar.rules import decide
from toolpolicy_sidecar.runtime import Limits
from toolpolicy_sidecar.tool import ToolState
from toolpolicy_sidecar.upstream import failure
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.headers import Header, end_to_end
from toolpolicy_sidecar.upstream.pool import Pool

CONNECT_S = 5.0
"""For what is no tool call, and so under no policy's timeout."""
CANCEL_WITHIN_S = 2.0
CANCELS_AT_ONCE = 64
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-")


class Progress:
    """What is known of a call so far; the record is made of it."""

    def __init__(self, call: ToolCall) -> None:
        self.call = call
        self.status = 0
        self.result = classify.SUCCESS
        self.error: str | None = None
        self.attempts = 0
        self.attempt_started: float | None = None
        self.redacted_request: dict[str, int] = {}
        self.redacted_response = Counter[str]()
        self.response_bytes = 0


class Pipeline:
    def __init__(self, pool: Pool, limits: Limits, clock: Clock, recorder: Recorder) -> None:
        self._pool, self._limits, self._clock, self._recorder = pool, limits, clock, recorder
        self._cancelling: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._cancelling:
            task.cancel()

    # tool calls
    async def call(self, call: ToolCall, http: web.BaseRequest) -> web.StreamResponse:
        """Answers a tool call, and records it exactly once."""
        progress = Progress(call)
        try:
            return await self._decided(call, http, progress)
        except asyncio.CancelledError:
            progress.status, progress.result = 499, classify.CLIENT_GONE
            raise
        finally:
            self._record(progress)

    async def _decided(self, call: ToolCall, http: web.BaseRequest, progress: Progress) -> web.StreamResponse:
        refused = decide(call, self._clock.monotonic())
        if refused:
            problem = Problem(refused.reason, refused.detail, refused.retry_after_s)
            return await self._problem(http, progress, problem)
        try:
            clean = cleanse.request(call, self._limits.body_bytes)
        except cleanse.Unclean as unclean:
            return await self._problem(http, progress, unclean.problem)
        progress.redacted_request = dict(clean.hits)
        redactor = call.tool.redactor if call.tool.redactor and call.tool.redactor.on_response else None
        request = Request(
            call.server.place.origin,
            call.incoming.method,
            cleanse.target(call.incoming, call.server.place.prefix, clean.path, clean.query),
            _readable(clean.headers) if redactor else clean.headers,
            clean.body if clean.body or call.incoming.method in {"POST", "PUT", "PATCH"} else None,
        )
        attempt = Attempt(self._pool, request, call.tool, self._clock, call.incoming.arrived)
        permit = (
            call.tool.circuit.acquire(attempt.started, attempt.deadline.at)
            if call.tool.mode != "Off"
            else None
        )
        if isinstance(permit, Rejected):
            problem = Problem(Reason.CircuitOpen, permit.reason, permit.retry_after_s)
            return await self._problem(http, progress, problem)
        return await self._attempted(call, http, progress, attempt, permit, redactor)

    async def _attempted(  # noqa: PLR0917 -- each is one thing an attempt needs
        self,
        call: ToolCall,
        http: web.BaseRequest,
        progress: Progress,
        attempt: Attempt,
        permit: Permit | None,
        redactor: Redactor | None,
    ) -> web.StreamResponse:
        progress.attempts, progress.attempt_started = 1, attempt.started
        outcome = Outcome.NEUTRAL
        try:
            try:
                response = await attempt.head()
                if call.mcp is not None:
                    answer = await self._mcp(call, call.mcp, http, progress, attempt, response, redactor)
                else:
                    answer = await self._http(call, http, progress, attempt, response, redactor)
            except Failed as failed:
                progress.result, progress.error = (
                    classify.of_reason(failed.problem.reason),
                    failed.problem.detail,
                )
                outcome = progress.result.breaker
                attempt.close()
                self._take_back(call, failed.problem.reason)
                # The circuit learns of it before the agent does: its next call must find it settled.
                self._settle(call.tool, permit, outcome, progress)
                return await self._problem(http, progress, failed.problem)
            except cleanse.Unclean as unclean:
                progress.result, progress.error = (
                    classify.of_reason(unclean.problem.reason),
                    unclean.problem.detail,
                )
                return await self._problem(http, progress, unclean.problem)
            outcome = progress.result.breaker
            return answer
        finally:
            attempt.close()
            self._settle(call.tool, permit, outcome, progress)

    def _settle(self, tool: ToolState, permit: Permit | None, outcome: Outcome, progress: Progress) -> None:
        """A second time changes nothing: a permit is settled once."""
        if permit is not None and permit.settled:
            return
        reason = progress.result.reason
        said = f"{reason}: {progress.error}" if reason and progress.error else (reason or None)
        tool.circuit.settle(permit, outcome, said)

    async def _http(  # noqa: PLR0917 -- the same
        self,
        call: ToolCall,
        http: web.BaseRequest,
        progress: Progress,
        attempt: Attempt,
        response: Response,
        redactor: Redactor | None,
    ) -> web.StreamResponse:
        progress.result = classify.of_status(response.status, call.tool.rules)
        if progress.result.reason:
            progress.error = f"HTTP {response.status}"
        kind = (response.header(b"content-type") or b"").decode("latin-1")
        if redactor is None or kind.startswith("text/event-stream"):
            return await self._stream(http, progress, attempt, response, redactor if kind else None)
        body = await attempt.whole(self._limits.body_bytes)
        return await self._whole(http, progress, response, body, redactor)

    async def _mcp(  # noqa: PLR0917 -- the same
        self,
        call: ToolCall,
        mcp: McpCall,
        http: web.BaseRequest,
        progress: Progress,
        attempt: Attempt,
        response: Response,
        redactor: Redactor | None,
    ) -> web.StreamResponse:
        kind = (response.header(b"content-type") or b"").decode("latin-1")
        progress.result = classify.of_status(response.status, call.tool.rules)
        if kind.startswith("text/event-stream") and response.status == 200:
            return await self._events(call, mcp, http, progress, attempt, response, redactor)
        body = await attempt.whole(self._limits.body_bytes)
        answer = jsonrpc.read_answer(body) if body else None
        spoken = answer is not None and (answer.result is not None or answer.error is not None)
        if response.status >= 500 and not spoken:
            # A bare 5xx loses its text in every client: the model gets a result that it can read.
            progress.error = f"HTTP {response.status}"
            problem = Problem(Reason.ServerError, f"its server answered HTTP {response.status}")
            return await self._problem(http, progress, problem, keep=True)
        if answer is not None and response.status < 400:
            progress.result = classify.of_mcp(answer.result, answer.error, call.tool.rules)
        if progress.result.reason:
            progress.error = f"HTTP {response.status}" if response.status >= 400 else "isError"
        return await self._whole(http, progress, response, body, redactor)

    async def _whole(
        self,
        http: web.BaseRequest,
        progress: Progress,
        response: Response,
        body: bytes,
        redactor: Redactor | None,
    ) -> web.StreamResponse:
        headers = response.headers
        if redactor is not None and body:
            kind = (response.header(b"content-type") or b"").decode("latin-1")
            encoding = (response.header(b"content-encoding") or b"").decode("latin-1")
            found = cleanse.answer(redactor, body, kind, encoding, self._limits.body_bytes)
            if found is not None:
                body = found.value
                progress.redacted_response.update(found.hits)
                headers = tuple(
                    h for h in headers if h[0].lower() not in {b"content-encoding", b"content-length"}
                )
        out = _start(response, headers)
        if http.method != "HEAD":
            out.content_length = len(body)
        progress.status = response.status
        await out.prepare(http)
        if body:
            await out.write(body)
        progress.response_bytes = len(body)
        await out.write_eof()
        return out

    async def _stream(
        self,
        http: web.BaseRequest,
        progress: Progress,
        attempt: Attempt,
        response: Response,
        redactor: Redactor | None,
    ) -> web.StreamResponse:
        """As it comes. A failure now cannot become another answer: the connection is cut, not ended."""
        out = _start(response, response.headers)
        _frame(out, response, http)
        progress.status = response.status
        await out.prepare(http)
        splitter = sse.Splitter(self._limits.body_bytes) if redactor else None
        try:
            while piece := await attempt.piece():
                if splitter and redactor:
                    for event in splitter.feed(piece):
                        await self._write(out, progress, _redacted(event, redactor, progress))
                else:
                    await self._write(out, progress, piece)
        except (Failed, sse.EventTooLarge) as failed:
            problem = (
                failed.problem if isinstance(failed, Failed) else Problem(Reason.AnswerTooLarge, "an event")
            )
            progress.result, progress.error = classify.of_reason(problem.reason), problem.detail
            if http.transport:
                http.transport.abort()
            return out
        await out.write_eof()
        return out

    async def _events(  # noqa: PLR0917 -- the same
        self,
        call: ToolCall,
        mcp: McpCall,
        http: web.BaseRequest,
        progress: Progress,
        attempt: Attempt,
        response: Response,
        redactor: Redactor | None,
    ) -> web.StreamResponse:
        """Event by event. Whatever happens, the stream ends with an answer to the call."""
        out = _start(response, tuple(h for h in response.headers if h[0].lower() != b"content-length"))
        out.enable_chunked_encoding()
        progress.status = response.status
        await out.prepare(http)
        splitter = sse.Splitter(self._limits.body_bytes)
        answered = False
        problem: Problem | None = None
        try:
            while piece := await attempt.piece():
                for event in splitter.feed(piece):
                    answer = jsonrpc.read_answer(event.data) if event.data and not answered else None
                    if answer is not None and answer.method is None and bytes(answer.id) == mcp.identifier:
                        answered = True
                        progress.result = classify.of_mcp(answer.result, answer.error, call.tool.rules)
                        progress.error = "isError" if progress.result.reason else None
                    await self._write(out, progress, _redacted(event, redactor, progress))
            if not answered:
                problem = Problem(Reason.IncompleteAnswer, "its stream ended without an answer")
        except Failed as failed:
            problem = failed.problem
        except sse.EventTooLarge:
            problem = Problem(
                Reason.AnswerTooLarge, f"an event of its answer is over {self._limits.body_bytes} bytes"
            )
        except cleanse.Unclean as unclean:
            problem = unclean.problem
        if problem and not answered:
            progress.result, progress.error = classify.of_reason(problem.reason), problem.detail
            attempt.close()
            self._take_back(call, problem.reason)
            await self._write(out, progress, sse.message(render.mcp_result(call, mcp, problem)))
        await out.write_eof()
        return out

    async def _write(self, out: web.StreamResponse, progress: Progress, data: bytes) -> None:
        if data:
            progress.response_bytes += len(data)
            await out.write(data)

    async def _problem(
        self, http: web.BaseRequest, progress: Progress, problem: Problem, *, keep: bool = False
    ) -> web.StreamResponse:
        """Our own answer. `keep`: the class of the tool's answer stands."""
        if not keep:
            progress.result, progress.error = classify.of_reason(problem.reason), problem.detail
        rendered = render.of_call(progress.call, problem)
        progress.status, progress.response_bytes = rendered.status, len(rendered.body)
        return await send(http, rendered)

    # what is no tool call
    async def passing(self, passing: Passing, http: web.BaseRequest) -> web.StreamResponse:
        """Goes through untouched; only what a server pushes by events is redacted, as results may come that way."""
        incoming, server = passing.incoming, passing.server
        redactor = server.unlisted.redactor
        request = Request(
            server.place.origin,
            incoming.method,
            cleanse.target(incoming, server.place.prefix, incoming.path, incoming.query),
            incoming.headers,
            incoming.body or (b"" if incoming.method == "POST" else None),
        )
        try:
            response = await self._pool.exchange(request, connect_timeout_s=CONNECT_S)
        except failure.UpstreamFailure as error:
            return await send(http, render.of_request(problem_of(error)))
        except failure.UnsendableRequest as error:
            return await send(http, render.of_request(Problem(Reason.MalformedRequest, str(error))))
        try:
            out = _start(response, response.headers)
            _frame(out, response, http)
            await out.prepare(http)
            events = (response.header(b"content-type") or b"").startswith(b"text/event-stream")
            filtering = redactor if events and redactor and redactor.on_response else None
            async for piece in _pieces(response, filtering, self._limits.body_bytes):
                await out.write(piece)
            await out.write_eof()
        except (failure.UpstreamFailure, sse.EventTooLarge):
            if http.transport:
                http.transport.abort()
        finally:
            response.release()
        return out

    def _take_back(self, call: ToolCall, reason: Reason) -> None:
        """Handshake era: the server goes on until it is told; later versions see the closed stream."""
        mcp = call.mcp
        timed_out = reason in {Reason.TotalTimeout, Reason.AttemptTimeout, Reason.IdleTimeout}
        if mcp is None or mcp.modern or not timed_out or len(self._cancelling) >= CANCELS_AT_ONCE:
            return
        kept = {b"mcp-session-id", b"mcp-protocol-version", b"authorization", b"accept"}
        headers = [h for h in call.incoming.headers if h[0].lower() in kept]
        request = Request(
            call.server.place.origin,
            "POST",
            cleanse.target(call.incoming, call.server.place.prefix, call.incoming.path, call.incoming.query),
            (*headers, (b"Content-Type", b"application/json")),
            jsonrpc.cancelled(mcp.identifier, "timed out"),
        )

        async def tell() -> None:
            try:
                async with asyncio.timeout(CANCEL_WITHIN_S):
                    response = await self._pool.exchange(request, connect_timeout_s=CANCEL_WITHIN_S)
                    await response.body(64 * 1024)
                    response.release()
            except (failure.UpstreamFailure, TimeoutError):
                return

        task = asyncio.ensure_future(tell())
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    def _record(self, progress: Progress) -> None:
        call = progress.call
        now = self._clock.monotonic()
        duration_ms = (now - call.incoming.arrived) * 1000
        call.tool.circuit.count(progress.result.outcome, duration_ms)
        trace = TRACEPARENT.match(call.incoming.text_header(b"traceparent"))
        self._recorder.call(
            CallRecord(
                policy=call.server.policy,
                server=call.server.name,
                tool=call.tool.name,
                protocol="MCP" if call.mcp else "HTTP",
                outcome=progress.result.outcome,
                reason=progress.result.reason,
                status=progress.status,
                started_at_ms=call.incoming.arrived_ms,
                duration_ms=duration_ms,
                upstream_ms=None
                if progress.attempt_started is None
                else (now - progress.attempt_started) * 1000,
                attempts=progress.attempts,
                argument_keys=call.argument_keys,
                request_bytes=len(call.incoming.body),
                response_bytes=progress.response_bytes,
                redacted_request=progress.redacted_request,
                redacted_response=dict(progress.redacted_response),
                session=(call.mcp.session or None) if call.mcp else None,
                trace_id=trace.group(1) if trace else None,
                error=progress.error,
            )
        )


async def send(http: web.BaseRequest, rendered: Rendered) -> web.StreamResponse:
    """A whole answer of our own."""
    out = web.StreamResponse(status=rendered.status)
    for name, value in rendered.headers:
        out.headers.add(name, value)
    out.content_length = len(rendered.body)
    await out.prepare(http)
    if http.method != "HEAD":
        await out.write(rendered.body)
    await out.write_eof()
    return out


def _start(response: Response, headers: tuple[Header, ...]) -> web.StreamResponse:
    out = web.StreamResponse(status=response.status, reason=response.reason.decode("latin-1"))
    for name, value in headers:
        out.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return out


def _frame(out: web.StreamResponse, response: Response, http: web.BaseRequest) -> None:
    """Without a length the body is chunked; where none may follow there is nothing to frame."""
    bodiless = http.method == "HEAD" or response.status in {204, 304}
    if response.header(b"content-length") is None and not bodiless:
        out.enable_chunked_encoding()


def _readable(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    """Asks for an answer that can be scanned."""
    kept = [header for header in end_to_end(headers) if header[0].lower() != b"accept-encoding"]
    return (*kept, (b"Accept-Encoding", b"identity"))


def _redacted(event: sse.Event, redactor: Redactor | None, progress: Progress) -> bytes:
    """The event's bytes, changed only where something was hit. Raises cleanse.Unclean."""
    if redactor is None or not event.data:
        return event.raw
    try:
        found = redactor.json(event.data)
    except Unscannable as error:
        if redactor.on_unscannable == "Refuse":
            raise cleanse.Unclean(Problem(Reason.AnswerUnscannable, str(error))) from None
        return event.raw
    progress.redacted_response.update(found.hits)
    return sse.replaced(event, found.value) if found.hits else event.raw


async def _pieces(response: Response, redactor: Redactor | None, limit_bytes: int) -> AsyncIterator[bytes]:
    """The body of what is no tool call; pushed events are redacted. Raises UpstreamFailure, EventTooLarge."""
    splitter = sse.Splitter(limit_bytes) if redactor else None
    while piece := await response.read():
        if splitter is None or redactor is None:
            yield piece
            continue
        for event in splitter.feed(piece):
            try:
                found = redactor.json(event.data) if event.data else None
            except Unscannable:
                if redactor.on_unscannable == "Pass":
                    yield event.raw
                continue
            yield sse.replaced(event, found.value) if found and found.hits else event.raw
