"""A call of a plain HTTP tool."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import NamedTuple

from toolpolicy_sidecar import classify, cleanse, entrust
from toolpolicy_sidecar.aside import aside
from toolpolicy_sidecar.call import Reply, ToolCall
from toolpolicy_sidecar.deadline import Watch
from toolpolicy_sidecar.fallback import occasion
from toolpolicy_sidecar.fallback.cache import ANSWER_BYTES, Whole
from toolpolicy_sidecar.mcp import sse
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.redact.headers import RedactedHeaders
from toolpolicy_sidecar.redact.redactor import Redacted, Redactor
from toolpolicy_sidecar.redact.stream import HELD_S, EventStream, TextStream
from toolpolicy_sidecar.relay.location import inward
from toolpolicy_sidecar.relay.paced import paced
from toolpolicy_sidecar.render import Rendered
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.headers import Header

READ_FIRST_BYTES = 64 * 1024
"""A request body up to this size is read before the tool is called, so that a slow agent holds no connection."""


class HttpRelay:
    def __init__(self, call: ToolCall, reply: Reply, progress: Progress, limit_bytes: int) -> None:
        self._call, self._reply, self._progress = call, reply, progress
        self._limit_bytes = limit_bytes
        self._said: bytes | None = b"" if call.incoming.body.length == 0 else None
        self._asked = False

    async def request(self) -> Request:
        """What is sent. Raises Stopped."""
        incoming, tool = self._call.incoming, self._call.tool
        self._asked = True
        path, query, headers = incoming.path, incoming.query, incoming.headers
        body: bytes | AsyncIterator[bytes] | None = None
        if incoming.body.length != 0:
            redacting = tool.on_request is not None or tool.trusted
            if redacting or (incoming.body.length or self._limit_bytes) <= READ_FIRST_BYTES:
                body = self._said = await self._read()
            else:
                body = self._counted(incoming.body.pieces())
        encoding, kind = incoming.text(b"content-encoding"), incoming.text(b"content-type")
        whole_body = body if isinstance(body, bytes) else b""
        redactor, session = self._call.on_request, self._call.put_back
        if redactor is not None:
            clean = await aside(
                None if encoding and whole_body else len(path) + len(query or "") + len(whole_body),
                partial(
                    cleanse.http_request,
                    redactor,
                    path,
                    query,
                    headers,
                    whole_body,
                    kind,
                    encoding,
                    self._limit_bytes,
                ),
                partial(_light, redactor, path, query or "", whole_body),
            )
            path, query, headers = clean.path, clean.query, clean.headers
            self._progress.redacted_request = clean.hits
            if clean.body is not whole_body:
                encoding = ""
            whole_body = clean.body
            body = whole_body if isinstance(body, bytes) else None
        if session is not None:
            parts = entrust.HttpParts(path, query, headers, whole_body)
            chosen = tool.redactor.headers if tool.redactor else None
            work = partial(entrust.http_request, session, parts, chosen, kind, encoding, self._limit_bytes)
            path, query, headers, whole_body = await aside(None if encoding else len(whole_body), work)
            body = whole_body if isinstance(body, bytes) else None
        if tool.on_response is not None or tool.keeps_answers:
            headers = cleanse.asking_for_plain(headers)
        server = self._call.server
        length = incoming.body.length
        return Request(
            server.place.origin, incoming.method, server.target(path, query), headers, body, length=length
        )

    async def said(self) -> bytes | None:
        """The agent's whole body; None: it is not known whole."""
        length = self._call.incoming.body.length
        if self._said is None and not self._asked and (length or self._limit_bytes) <= READ_FIRST_BYTES:
            self._asked = True
            with suppress(Stopped):
                self._said = await self._read()
        return self._said

    async def _read(self) -> bytes:
        incoming, tool = self._call.incoming, self._call.tool
        ends = incoming.arrived + tool.total_s if tool.enforced else None
        body = await incoming.body.whole(ends)
        self._progress.request_bytes = len(body)
        return body

    async def carry(self, response: Response, watch: Watch) -> None:
        """Raises Stopped, UpstreamFailure."""
        tool, status = self._call.tool, response.status
        self._progress.result = classify.of_status(status, tool.rules)
        if self._progress.result.reason:
            self._progress.error = f"HTTP {status}"
        if tool.fallback is not None and (failed := occasion.of_status(status)):
            raise Stopped(failed)
        headers = response.headers
        if 300 <= status < 400:
            headers = inward(headers, self._call.incoming, self._call.server)
        bodiless = self._call.incoming.method == "HEAD" or status in {204, 304}
        redactor = self._call.on_response
        headers = await clean_head(self._call, self._progress, response, headers)
        if redactor is None or bodiless or passes_unread(response, redactor):
            await self._stream(response, headers, watch)
        elif (response.header(b"content-type") or b"").startswith(b"text/event-stream"):
            await self._events(response, headers, watch, redactor)
        else:
            await self._redacted(response, headers, watch, redactor)

    @property
    def open(self) -> bool:
        """The agent can still be told something else than what it was told."""
        return not self._reply.started

    async def answer(self, rendered: Rendered) -> None:
        """Ours. An answer that has begun cannot become another one: the connection is cut, not ended."""
        if not self.open:
            self._reply.abort()
            return
        self._progress.status = rendered.status
        await self._reply.whole(rendered.status, rendered.headers, rendered.body)

    async def _stream(
        self, response: Response, headers: tuple[Header, ...], watch: Watch, begun: bytes = b""
    ) -> None:
        """As it comes, no faster than the agent reads. `begun`: what was already read of it."""
        length = response.length
        body = response.at_once() if length is not None and not begun else None
        piece = begun or (await next_piece(response, watch) if body is None else body)
        self._progress.status = response.status
        if length is not None and length == len(piece) and response.status not in {204, 304}:
            if body is None:
                await next_piece(response, watch)  # the end: nothing is left of a body of this length
            self._keep(response, piece)
            await self._reply.whole(response.status, headers, piece)
            return
        await self._reply.start(response.status, response.reason, headers, length)
        kept: bytearray | None = bytearray() if self._call.tool.keeps_answers else None
        while piece:
            if kept is not None:
                kept = kept + piece if len(kept) + len(piece) <= ANSWER_BYTES else None
            await self._reply.write(piece)
            piece = await next_piece(response, watch)
        if kept is not None:
            self._keep(response, bytes(kept))
        await self._reply.finish()

    async def _redacted(
        self, response: Response, headers: tuple[Header, ...], watch: Watch, redactor: Redactor
    ) -> None:
        kind = (response.header(b"content-type") or b"").decode("latin-1")
        encoding = (response.header(b"content-encoding") or b"").decode("latin-1")
        if response.length is not None or self._call.tool.keeps_answers:
            body, rest = at_once(response, self._limit_bytes) or await gathered(
                response, watch, self._limit_bytes
            )
        else:
            first = await next_piece(response, watch)
            text = cleanse.http_text(redactor, kind, encoding, first, self._limit_bytes)
            if text is not None:
                await self._texts(response, first, headers, watch, redactor, text)
                return
            body, rest = (
                await gathered(response, watch, self._limit_bytes, first)
                if first
                else Gathered(b"", rest=False)
            )
        if rest:
            if redactor.on_unscannable == "Refuse":
                raise Stopped(too_large(self._limit_bytes))
            await self._stream(response, headers, watch, body)
            return
        plain = await plainly(body, encoding, self._limit_bytes, redactor) if encoding else body
        if plain:
            work = partial(cleanse.http_answer, redactor, plain, kind)
            found = await aside(len(plain), work, partial(redactor.light, plain))
            self._progress.hit(found.hits)
            if found.hits:
                body, headers = found.value, cleanse.of_changed_body(headers)
            self._keep(response, found.value, encoding="")
        self._progress.status = response.status
        await self._reply.whole(response.status, headers, body)

    def _keep(self, response: Response, body: bytes, encoding: str | None = None) -> None:
        """For a fallback, unless the tool forbids it or `body` is encoded."""
        if not self._call.tool.keeps_answers or response.status != 200 or not body:
            return
        if encoding is None:
            encoding = (response.header(b"content-encoding") or b"").decode("latin-1")
        if encoding in {"", "identity"} and not _forbids_storing(response.headers):
            self._progress.answered(Whole(body, response.header(b"content-type") or b""))

    async def _texts(  # noqa: PLR0917 -- the parts of an answer
        self,
        response: Response,
        first: bytes,
        headers: tuple[Header, ...],
        watch: Watch,
        redactor: Redactor,
        text: TextStream,
    ) -> None:
        """A text as it comes, but for its end, in which a hit may begin."""
        await self._begin(response, cleanse.of_changed_body(headers))
        async with aclosing(paced(_pieces(first, response, watch), lambda: text.holds, HELD_S)) as pieces:
            async for piece in pieces:
                step = text.pause if piece is None else partial(text.feed, piece)
                await self._go_on(redactor, text, step, len(piece or b""))
        await self._go_on(redactor, text, text.end)
        await self._reply.finish()

    async def _events(
        self, response: Response, headers: tuple[Header, ...], watch: Watch, redactor: Redactor
    ) -> None:
        headers = cleanse.of_changed_body(headers)
        stream = cleanse.http_events(redactor, self._limit_bytes)
        events = events_of(response, watch, self._limit_bytes)
        async with aclosing(paced(events, lambda: stream.holds, HELD_S)) as pace:
            async for event in pace:
                if not self._reply.started:
                    await self._begin(response, headers)
                step = stream.pause if event is None else partial(stream.feed, event)
                await self._go_on(redactor, stream, step, len(event.raw) if event else 0)
        if not self._reply.started:
            await self._begin(response, headers)
        await self._go_on(redactor, stream, stream.end)
        await self._reply.finish()

    async def _begin(self, response: Response, headers: tuple[Header, ...]) -> None:
        self._progress.status = response.status
        await self._reply.start(response.status, response.reason, headers, None)

    async def _go_on(
        self,
        redactor: Redactor,
        stream: TextStream | EventStream,
        step: Callable[[], Redacted[bytes]],
        come_bytes: int = 0,
    ) -> None:
        found = await aside(stream.held_bytes + come_bytes, partial(cleanse.step, redactor, stream, step))
        self._progress.hit(found.hits)
        if found.value:
            await self._reply.write(found.value)

    async def _counted(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            self._progress.request_bytes += len(piece)
            yield piece


def _light(redactor: Redactor, path: str, query: str, body: bytes) -> bool:
    words = path + "\n" + query
    return words.isascii() and redactor.light(words.encode()) and redactor.light(body)


def _forbids_storing(headers: tuple[Header, ...]) -> bool:
    return any(name.lower() == b"cache-control" and b"no-store" in value.lower() for name, value in headers)


async def plainly(
    body: bytes, encoding: str, limit_bytes: int, redactor: Redactor | None = None
) -> bytes | None:
    """As `cleanse.plain`. What is not encoded was read under the limit already."""
    if not encoding:
        return body
    return await aside(None, partial(cleanse.plain, body, encoding, limit_bytes, redactor))


def passes_unread(response: Response, redactor: Redactor) -> bool:
    """It cannot be decoded as it comes, and the policy lets such answers pass."""
    encoding = (response.header(b"content-encoding") or b"").decode("latin-1")
    return redactor.on_unscannable == "Pass" and encoding.strip().lower() not in cleanse.ENCODINGS


async def redacted_event(redactor: Redactor, event: sse.Event, raw: bytes) -> Redacted[bytes]:
    """As `cleanse.beside_data`."""
    if not event.beside:
        return Redacted(raw, {})
    return await aside(len(event.beside), partial(cleanse.beside_data, redactor, event, raw))


async def redacted_head(
    redactor: Redactor, response: Response, headers: tuple[Header, ...]
) -> RedactedHeaders:
    """As `cleanse.answer_headers`. A reason phrase, which may say anything, gives way to that of the status."""
    response.reason = b""
    if not redactor.reads_headers:
        return RedactedHeaders(headers, {})
    size_bytes = sum(len(value) for _, value in headers)
    return await aside(size_bytes, partial(cleanse.answer_headers, redactor, headers))


async def clean_head(
    call: ToolCall, progress: Progress, response: Response, headers: tuple[Header, ...]
) -> tuple[Header, ...]:
    """The same of an answer to a call, counted. Raises Stopped."""
    redactor = call.on_response
    if redactor is None:
        return headers
    if not redactor.reads_headers:
        response.reason = b""
        return headers
    found = await redacted_head(redactor, response, headers)
    progress.hit(found.hits)
    return found.headers


class Gathered(NamedTuple):
    """What has come of an answer; `rest`: there is more, and it would be over the limit."""

    body: bytes
    rest: bool


def at_once(response: Response, limit_bytes: int) -> Gathered | None:
    """All of an answer, if nobody has to wait for it."""
    if response.length is None or response.length > limit_bytes:
        return None
    body = response.at_once()
    return None if body is None else Gathered(body, rest=False)


async def gathered(response: Response, watch: Watch, limit_bytes: int, first: bytes = b"") -> Gathered:
    """With what was already read of it."""
    pieces, size = ([first], len(first)) if first else ([], 0)
    length = response.length
    if max(length or 0, size) > limit_bytes:
        return Gathered(first, rest=True)
    over = False
    while not over and (piece := await next_piece(response, watch)):
        size += len(piece)
        over = size > limit_bytes
        pieces.append(piece)
    return Gathered(pieces[0] if len(pieces) == 1 else b"".join(pieces), over)


def too_large(limit_bytes: int) -> Problem:
    return Problem(Reason.AnswerTooLarge, f"it is over {limit_bytes} bytes")


async def _pieces(first: bytes, response: Response, watch: Watch) -> AsyncIterator[bytes]:
    piece = first
    while piece:
        yield piece
        piece = await next_piece(response, watch)


async def next_piece(response: Response, watch: Watch) -> bytes:
    watch.listening()
    piece = await response.read()
    watch.heard()
    return piece


def events_of(response: Response, watch: Watch, limit_bytes: int) -> AsyncIterator[sse.Event]:
    """Whole events, decoded. What comes after the last blank line is no event to any client. Raises Stopped:
    now for an encoding that cannot be undone, later for an event over the limit."""
    encoding = (response.header(b"content-encoding") or b"").decode("latin-1")
    return _events_of(response, watch, cleanse.Inflater(encoding, limit_bytes), limit_bytes)


async def _events_of(
    response: Response, watch: Watch, inflater: cleanse.Inflater, limit_bytes: int
) -> AsyncIterator[sse.Event]:
    splitter = sse.Splitter(limit_bytes)
    try:
        while piece := await next_piece(response, watch):
            for event in splitter.feed(inflater.feed(piece)):
                yield event
    except sse.EventTooLarge:
        text = f"an event of it is over {limit_bytes} bytes"
        raise Stopped(Problem(Reason.AnswerTooLarge, text)) from None
    for event in splitter.end():
        yield event
