"""What is no tool call: it goes through untouched, for as long as both sides want. Only redaction looks into what
a server says beside the results of its tools: errors, notifications, resources and prompts."""

from collections.abc import Mapping
from functools import partial

from toolpolicy_sidecar import cleanse, render
from toolpolicy_sidecar.aside import aside
from toolpolicy_sidecar.attempt import attempt
from toolpolicy_sidecar.call import Passing, Reply
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.deadline import Watch
from toolpolicy_sidecar.fallback.schemas import OutputSchemas, listed
from toolpolicy_sidecar.mcp import jsonrpc, sse
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import Recorder, RedactedMessage
from toolpolicy_sidecar.redact.redactor import Redacted, Redactor
from toolpolicy_sidecar.relay.http import (
    events_of,
    gathered,
    passes_unread,
    plainly,
    redacted_event,
    redacted_head,
    too_large,
)
from toolpolicy_sidecar.relay.location import inward
from toolpolicy_sidecar.upstream.exchange import Request, Response, Upstream
from toolpolicy_sidecar.upstream.headers import Header

LIST_BYTES = 1024 * 1024


async def relay(  # noqa: PLR0917 -- what it works with
    passing: Passing, reply: Reply, pool: Upstream, clock: Clock, limit_bytes: int, recorder: Recorder
) -> Problem | None:
    """Only connecting has a time limit. None: the server answered; else what the agent was told instead."""
    incoming, server = passing.incoming, passing.server
    redactor = passing.on_response if passing.pushes or passing.body is not None else None
    headers = incoming.headers
    if passing.body is not None and b"content-encoding" in incoming.noted:
        headers = cleanse.without(headers, b"content-encoding")
    if redactor is not None:
        headers = cleanse.asking_for_plain(headers)
    body = passing.body
    if body is None and incoming.body.length != 0:
        body = await incoming.body.whole()
    request = Request(
        server.place.origin, incoming.method, server.target(incoming.path, incoming.query), headers, body
    )

    async def carry(response: Response, watch: Watch) -> None:
        answer = response.headers
        if 300 <= response.status < 400:
            answer = inward(answer, incoming, server)
        if passing.on_response is not None:
            found = await redacted_head(passing.on_response, response, answer)
            answer = found.headers
            _tell(found.hits, passing, recorder)
        events = (response.header(b"content-type") or b"").lower().startswith(b"text/event-stream")
        if redactor is not None and events and not passes_unread(response, redactor):
            await _pushed(response, watch, answer, reply, passing, redactor, limit_bytes, recorder)
            return
        overheard = _Overheard(server.schemas) if passing.lists and server.schemas is not None else None
        if redactor is not None and passing.body is not None:
            body, rest = await gathered(response, watch, limit_bytes)
            if rest and redactor.on_unscannable == "Refuse":
                raise Stopped(too_large(limit_bytes))
            if rest:
                await _piped(response, answer, body, reply)
                return
            if overheard:
                overheard.hear(body)
                overheard.learn(response, events=events)
            await _said(response, answer, body, reply, passing, redactor, limit_bytes, recorder)
            return
        await reply.start(response.status, response.reason, answer, response.length)
        while piece := await response.read():
            await reply.write(piece)
            if overheard:
                overheard.hear(piece)
        if overheard:
            overheard.learn(response, events=events)
        await reply.finish()

    watch = Watch(clock, None, None)
    problem = await attempt(pool, request, connect_s=server.unlisted.connect_s, watch=watch, carry=carry)
    if problem is None:
        return None
    if reply.started:
        reply.abort()
    else:
        rendered = render.of_request(problem, server=server.name, policy=server.policy)
        await reply.whole(rendered.status, rendered.headers, rendered.body)
    return problem


async def _piped(response: Response, headers: tuple[Header, ...], begun: bytes, reply: Reply) -> None:
    await reply.start(response.status, response.reason, headers, response.length)
    if begun:
        await reply.write(begun)
    while piece := await response.read():
        await reply.write(piece)
    await reply.finish()


class _Overheard:
    """The list of a server's tools, kept aside as it passes; a longer one is let go."""

    def __init__(self, schemas: OutputSchemas) -> None:
        self._schemas = schemas
        self._pieces: list[bytes] = []
        self._left_bytes = LIST_BYTES

    def hear(self, piece: bytes) -> None:
        self._left_bytes -= len(piece)
        if self._left_bytes >= 0:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def learn(self, response: Response, *, events: bool) -> None:
        if self._left_bytes < 0 or response.status != 200:
            return
        encoding = (response.header(b"content-encoding") or b"").decode("latin-1")
        try:
            body = cleanse.plain(b"".join(self._pieces), encoding, LIST_BYTES)
        except Stopped:  # decoded it is longer
            return
        self._schemas.learn(listed(body or b"", events=events, limit_bytes=LIST_BYTES))


async def _pushed(  # noqa: PLR0917 -- the parts of an answer
    response: Response,
    watch: Watch,
    headers: tuple[Header, ...],
    reply: Reply,
    passing: Passing,
    redactor: Redactor,
    limit_bytes: int,
    recorder: Recorder,
) -> None:
    """Event by event."""
    events = events_of(response, watch, limit_bytes)
    await reply.start(response.status, response.reason, cleanse.of_changed_body(headers), None)
    async for event in events:
        raw = event.raw
        if event.data:
            found = await _redacted(event.data, passing, redactor, recorder)
            raw = raw if found.value is event.data else sse.replaced(event, found.value)
        beside = await redacted_event(redactor, event, raw)
        _tell(beside.hits, passing, recorder)
        raw = beside.value
        await reply.write(raw)
    await reply.finish()


async def _said(  # noqa: PLR0917 -- the parts of an answer
    response: Response,
    headers: tuple[Header, ...],
    body: bytes,
    reply: Reply,
    passing: Passing,
    redactor: Redactor,
    limit_bytes: int,
    recorder: Recorder,
) -> None:
    """A whole answer. One that is no message passes, as statuses and empty answers do, unless contents were asked for.
    Raises Stopped."""
    length = response.length
    encoding = (response.header(b"content-encoding") or b"").decode("latin-1")
    plain = await plainly(body, encoding, limit_bytes, redactor if passing.reads else None)
    if plain is not None and jsonrpc.members_of(plain) is not None:
        found = await _redacted(plain, passing, redactor, recorder)
        if found.value is not plain:
            body, length, headers = found.value, len(found.value), cleanse.of_changed_body(headers)
    elif passing.reads and response.status == 200 and redactor.on_unscannable == "Refuse":
        raise Stopped(Problem(Reason.AnswerUnparsable, "it is no JSON-RPC message"))
    await reply.start(response.status, response.reason, headers, length)
    if body:
        await reply.write(body)
    await reply.finish()


async def _redacted(
    message: bytes, passing: Passing, redactor: Redactor, recorder: Recorder
) -> Redacted[bytes]:
    results = passing.pushes or passing.reads
    work = partial(cleanse.mcp_message, redactor, message, results=results)
    found = await aside(len(message), work, partial(redactor.light, message))
    _tell(found.hits, passing, recorder)
    return found


def _tell(hits: Mapping[str, int], passing: Passing, recorder: Recorder) -> None:
    if hits:
        server = passing.server
        recorder.redacted(RedactedMessage(policy=server.policy, server=server.name, hits=hits))
