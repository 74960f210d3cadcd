"""A call of an MCP tool. Whatever happens, the model gets a result that it can read."""

from functools import partial

from msgspec.structs import replace

from toolpolicy_sidecar import classify, cleanse, entrust, render
from toolpolicy_sidecar.aside import aside
from toolpolicy_sidecar.call import McpCall, Reply, ToolCall
from toolpolicy_sidecar.deadline import Watch
from toolpolicy_sidecar.fallback import occasion
from toolpolicy_sidecar.fallback.cache import Whole
from toolpolicy_sidecar.mcp import jsonrpc, sse
from toolpolicy_sidecar.mcp.answer import Answer, answer_to
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.relay.http import (
    at_once,
    clean_head,
    events_of,
    gathered,
    next_piece,
    passes_unread,
    plainly,
    redacted_event,
    too_large,
)
from toolpolicy_sidecar.relay.location import inward
from toolpolicy_sidecar.render import Rendered
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.headers import Header

HELD_BYTES = 256 * 1024
"""An answer that nobody has to change is held back up to this size, so that a failure in it can still become
a result; beyond, it is streamed."""


class McpRelay:
    def __init__(
        self, call: ToolCall, mcp: McpCall, reply: Reply, progress: Progress, limit_bytes: int
    ) -> None:
        self._call, self._mcp, self._reply, self._progress = call, mcp, reply, progress
        self._limit_bytes = limit_bytes
        self._sent_as = mcp.identifier
        self._answered = False
        self._in_events = False

    async def said(self) -> bytes | None:
        """The agent's whole body."""
        return self._mcp.body

    async def request(self) -> Request:
        """What is sent. Raises Stopped."""
        incoming, tool, server = self._call.incoming, self._call.tool, self._call.server
        headers, body = incoming.headers, self._mcp.body
        self._progress.request_bytes = len(body)
        if b"content-encoding" in incoming.noted:
            headers = cleanse.without(headers, b"content-encoding")
        redactor, session = self._call.on_request, self._call.put_back
        if redactor is not None:
            work = partial(cleanse.mcp_request, redactor, body, headers, self._mcp.arguments)
            body, headers, hits = await aside(len(body), work, partial(redactor.light, body))
            self._progress.redacted_request = hits
        if session is not None:
            chosen = tool.redactor.headers if tool.redactor else None
            entrusted = partial(entrust.mcp_request, session, body, headers, chosen)
            body, headers = await aside(len(body), entrusted)
        if tool.enforced:
            headers = cleanse.asking_for_plain(headers)
        target = server.target(incoming.path, incoming.query)
        return Request(server.place.origin, incoming.method, target, headers, body)

    def again(self, request: Request, identifier: bytes) -> Request:
        """The request for another attempt, under an id of its own: the server may still be busy with the last one."""
        body = request.body if isinstance(request.body, bytes) else b""
        return replace(request, body=jsonrpc.renamed(body, self._sent_as, identifier))

    def expect(self, identifier: bytes) -> None:
        """The answer that is carried has this id."""
        self._sent_as = identifier

    async def carry(self, response: Response, watch: Watch) -> None:
        """Raises Stopped, UpstreamFailure."""
        status = response.status
        kind = (response.header(b"content-type") or b"").lower()
        if self._call.tool.fallback is not None and (failed := occasion.of_status(status)):
            self._classify_status(status)
            raise Stopped(failed)
        redactor = self._call.tool.on_response
        unread = redactor is not None and passes_unread(response, redactor) and self._keeps_id
        if not self._call.tool.enforced or unread:
            await self._stream(response, b"", watch)
        elif status == 200 and kind.startswith(b"text/event-stream"):
            await self._events(response, watch)
        elif self._changed:
            body, rest = at_once(response, self._limit_bytes) or await gathered(
                response, watch, self._limit_bytes
            )
            if rest:
                if redactor is None or redactor.on_unscannable == "Refuse" or not self._keeps_id:
                    raise Stopped(too_large(self._limit_bytes))
                await self._stream(response, body, watch)
                return
            headers = response.headers
            if response.header(b"content-encoding"):
                plain = await self._decoded(response, body)
                if plain is not body:
                    body, headers = plain, cleanse.of_changed_body(headers)
            await self._whole(response, headers, body)
        else:
            await self._held(response, watch)

    @property
    def _changed(self) -> bool:
        """The answer goes on with other bytes than it came."""
        return self._call.tool.on_response is not None or not self._keeps_id

    @property
    def _keeps_id(self) -> bool:
        """The server knows the call by the agent's own id."""
        return self._sent_as == self._mcp.identifier

    @property
    def open(self) -> bool:
        """The agent can still be given a result."""
        return not self._reply.started or (self._in_events and not self._answered)

    async def answer(self, rendered: Rendered) -> None:
        """Ours; in a stream that has begun, an event with it; in the middle of a document, a cut connection."""
        if not self._reply.started:
            self._progress.status = rendered.status
            await self._reply.whole(rendered.status, rendered.headers, rendered.body)
        elif not self._in_events:
            self._reply.abort()
        else:
            if not self._answered:
                await self._reply.write(sse.message(rendered.body))
            await self._reply.finish()

    async def _held(self, response: Response, watch: Watch) -> None:
        body = response.at_once()
        if body is not None:
            await self._whole(response, response.headers, body)
            return
        pieces, size = [], 0
        while piece := await next_piece(response, watch):
            pieces.append(piece)
            size += len(piece)
            if size > HELD_BYTES:
                await self._stream(response, b"".join(pieces), watch)
                return
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        await self._whole(response, response.headers, body)

    async def _stream(self, response: Response, begun: bytes, watch: Watch) -> None:
        """Too large to be held, or not to be looked at."""
        self._classify_status(response.status)
        headers = await clean_head(self._call, self._progress, response, response.headers)
        await self._reply.start(response.status, response.reason, headers, response.length)
        self._progress.status = response.status
        await self._reply.write(begun)
        while piece := await next_piece(response, watch):
            await self._reply.write(piece)
        await self._reply.finish()

    async def _whole(self, response: Response, headers: tuple[Header, ...], body: bytes) -> None:
        """`body` is the whole answer. What is no JSON-RPC would reach no model: it becomes a result, if it was
        meant as an answer; what the protocol says by a status (202, 3xx, 4xx) passes."""
        status, tool = response.status, self._call.tool
        self._classify_status(status)
        answer = answer_to(body, self._sent_as) if body else None
        if answer is not None and status < 400 and answer.tool_error:
            self._progress.result, self._progress.error = (
                classify.of_tool_error(tool.rules),
                "the tool says no",
            )
        if answer is None and status >= 500:
            problem = Problem(Reason.ServerError, f"its server answered HTTP {status}")
            rendered = render.of_call(self._call, problem)
            self._progress.status = rendered.status
            await self._reply.whole(rendered.status, rendered.headers, rendered.body)
            return
        if answer is None and status == 200:
            self._refuse_nonsense(response)
        if 300 <= status < 400:
            headers = inward(headers, self._call.incoming, self._call.server)
        headers = await clean_head(self._call, self._progress, response, headers)
        if self._changed and answer is not None:
            body, headers = await self._for_agent(body, answer), cleanse.of_changed_body(headers)
            self._say(body)
        if tool.keeps_answers and answer is not None and answer.final and not answer.tool_error:
            self._progress.answered(Whole(body))
        self._progress.status = status
        await self._reply.whole(status, headers, body)

    async def _for_agent(self, message: bytes, answer: Answer | None) -> bytes:
        """Redacted, and under the id that the agent knows. Raises Stopped."""
        redactor = self._call.on_response
        if redactor is not None:
            work = partial(cleanse.mcp_message, redactor, message, answer=answer)
            found = await aside(len(message), work, partial(redactor.light, message))
            self._progress.hit(found.hits)
            message = found.value
        if not self._keeps_id:
            message = jsonrpc.renamed(message, self._sent_as, self._mcp.identifier)
        return message

    def _say(self, message: bytes) -> None:
        """The answer, as the agent gets it."""
        trace = self._progress.trace
        if trace is not None and trace.content is not None:
            trace.content.told(message)

    def _refuse_nonsense(self, response: Response) -> None:
        """Nothing that a client would take for an answer. Encoded although nobody asked for it, it passes where
        nothing is redacted. Raises Stopped."""
        redactor = self._call.tool.on_response
        if redactor is not None:
            if redactor.on_unscannable == "Refuse":
                raise Stopped(Problem(Reason.AnswerUnparsable, "it is no JSON-RPC message"))
        elif (response.header(b"content-encoding") or b"").strip().lower() in {b"", b"identity"}:
            raise Stopped(Problem(Reason.MalformedAnswer, "it is no JSON-RPC message"))

    async def _decoded(self, response: Response, body: bytes) -> bytes:
        encoding = (response.header(b"content-encoding") or b"").decode("latin-1")
        plain = await plainly(body, encoding, self._limit_bytes, self._call.tool.on_response)
        return body if plain is None else plain

    async def _events(self, response: Response, watch: Watch) -> None:
        """Event by event. The stream ends with an answer to the call, or where the agent can resume it. Its head waits
        for the first event: many servers send theirs at once, and nothing could be tried again after it."""
        events = events_of(response, watch, self._limit_bytes)
        resumable = False
        async for event in events:
            if not self._in_events:
                await self._begin_events(response)
            resumable = resumable or event.identified
            await self._reply.write(await self._event(event))
        if not self._answered:
            # An answer on a resumed stream would have an id that the agent does not know.
            if self._mcp.modern or not resumable or not self._keeps_id:
                raise Stopped(Problem(Reason.IncompleteAnswer, "its stream ended without an answer"))
            self._progress.result = classify.RESUMABLE
        await self._reply.finish()

    async def _begin_events(self, response: Response) -> None:
        headers = await clean_head(
            self._call, self._progress, response, cleanse.of_changed_body(response.headers)
        )
        self._in_events = True
        self._progress.status = response.status
        await self._reply.start(response.status, response.reason, headers, None)

    async def _event(self, event: sse.Event) -> bytes:
        """As it goes to the agent. Raises Stopped."""
        raw = await self._with_data(event, event.data) if event.data else event.raw
        redactor = self._call.on_response
        if redactor is None:
            return raw
        found = await redacted_event(redactor, event, raw)
        self._progress.hit(found.hits)
        return found.value

    async def _with_data(self, event: sse.Event, came: bytes) -> bytes:
        """As it goes to the agent, but for the lines beside its data. `came`: its data as the server said it."""
        answer = None if self._answered else answer_to(came, self._sent_as)
        data = await self._for_agent(came, answer) if self._changed else came
        if answer is not None and answer.final:
            self._answered = True
            self._say(data)
            if answer.tool_error:
                self._progress.result = classify.of_tool_error(self._call.tool.rules)
                self._progress.error = "the tool says no"
            elif self._call.tool.keeps_answers:
                self._progress.answered(Whole(data))
        return event.raw if data is came else sse.replaced(event, data)

    def _classify_status(self, status: int) -> None:
        self._progress.result = classify.of_status(status, self._call.tool.rules)
        if self._progress.result.reason:
            self._progress.error = f"HTTP {status}"
