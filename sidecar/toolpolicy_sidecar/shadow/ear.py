"""Listens to an answer that passes, and says at its end what Enforce would have made of it. Changes no byte of it."""

from collections import Counter
from functools import partial
from typing import NamedTuple

from toolpolicy_sidecar import cleanse
from toolpolicy_sidecar.aside import aside
from toolpolicy_sidecar.call import ToolCall
from toolpolicy_sidecar.mcp import sse
from toolpolicy_sidecar.mcp.answer import answer_to
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.relay.mcp import HELD_BYTES
from toolpolicy_sidecar.upstream.exchange import Response


class Heard(NamedTuple):
    """`problem`: Enforce would have answered with it instead. `tool_error`: the tool answered, and said no.
    `undecided`: it came in an encoding that Enforce would not have asked for, and cannot be read."""

    hits: Counter[str]
    problem: Problem | None = None
    tool_error: bool = False
    undecided: bool = False


class Ear:
    """Of one answer. `limit_bytes`: more of it is not kept."""

    def __init__(
        self, call: ToolCall, redactor: Redactor | None, response: Response, limit_bytes: int
    ) -> None:
        self._mcp, self._redactor, self._status = call.mcp, redactor, response.status
        self._kind = (response.header(b"content-type") or b"").decode("latin-1").lower()
        self._encoding = (response.header(b"content-encoding") or b"").decode("latin-1").strip().lower()
        self._limit_bytes = limit_bytes if redactor else min(limit_bytes, HELD_BYTES)
        self._events: sse.Splitter | None = None
        if self._kind.startswith("text/event-stream") and (call.mcp is None or response.status == 200):
            self._events = sse.Splitter(limit_bytes)
        self._pieces: list[bytes] = []
        self._size = 0
        self._hits = Counter[str]()
        self._problem: Problem | None = None
        self._headers = response.headers
        self._answered = self._tool_error = self._resumable = False
        self._undecided = self._encoding not in cleanse.ENCODINGS
        self._inflater: cleanse.Inflater | None = None
        if self._events is not None and not self._undecided:
            self._inflater = cleanse.Inflater(self._encoding, limit_bytes)

    async def hear(self, piece: bytes) -> None:
        if self._problem is not None or self._undecided:
            return
        self._size += len(piece)
        if self._events is None or self._inflater is None:
            if self._size <= self._limit_bytes:
                self._pieces.append(piece)
            else:
                self._pieces.clear()
            return
        try:
            for event in self._events.feed(self._inflater.feed(piece)):
                await aside(len(event.raw), partial(self._event, event))
        except sse.EventTooLarge:
            self._problem = Problem(Reason.AnswerTooLarge, "an event of it is too large")
        except Stopped as stopped:
            self._problem = stopped.problem

    @property
    def kept_bytes(self) -> int | None:
        """What is left to look at; None: nobody knows, since it is packed."""
        return None if self._pieces and self._encoding else sum(map(len, self._pieces))

    def end(self) -> Heard:
        """The answer came to its own clean end."""
        if self._problem is None and not self._undecided:
            try:
                if self._redactor:
                    self._hits.update(cleanse.answer_headers(self._redactor, self._headers).hits)
                if self._events is None:
                    self._body()
                else:
                    self._end_of_events(self._events)
            except Stopped as stopped:
                self._problem = stopped.problem
        return Heard(self._hits, self._problem, self._tool_error, self._undecided)

    def _event(self, event: sse.Event) -> None:
        """Raises Stopped."""
        self._resumable = self._resumable or event.identified
        if self._redactor:
            self._hits.update(cleanse.beside_data(self._redactor, event, event.raw).hits)
        if not event.data:
            return
        if self._mcp is None:
            if self._redactor:
                self._hits.update(cleanse.http_event(self._redactor, event.data).hits)
            return
        answer = answer_to(event.data, self._mcp.identifier)
        if self._redactor:
            self._hits.update(cleanse.mcp_message(self._redactor, event.data, answer=answer).hits)
        if answer is not None and answer.final and not self._answered:
            self._answered, self._tool_error = True, answer.tool_error

    def _end_of_events(self, events: sse.Splitter) -> None:
        """Raises Stopped."""
        for event in events.end():
            self._event(event)
        if self._mcp is not None and not self._answered and (self._mcp.modern or not self._resumable):
            raise Stopped(Problem(Reason.IncompleteAnswer, "its stream ended without an answer"))

    def _body(self) -> None:
        """Raises Stopped."""
        if self._size > self._limit_bytes:
            if self._redactor and self._redactor.on_unscannable == "Refuse":
                raise Stopped(Problem(Reason.AnswerTooLarge, f"it is over {self._limit_bytes} bytes"))
            return  # Enforce would have streamed it, and not looked either
        body = cleanse.plain(b"".join(self._pieces), self._encoding, self._limit_bytes, self._redactor)
        if body is None:
            if self._redactor:
                return
            raise Stopped(Problem(Reason.AnswerUnparsable, "its Content-Encoding is broken"))
        if self._mcp is None:
            if self._redactor and body:
                self._hits.update(cleanse.http_answer(self._redactor, body, self._kind).hits)
            return
        answer = answer_to(body, self._mcp.identifier) if body else None
        if answer is None:
            if self._status == 200:
                raise Stopped(Problem(Reason.MalformedAnswer, "it is no JSON-RPC message"))
            return
        self._tool_error = self._status < 400 and answer.tool_error
        if self._redactor:
            self._hits.update(cleanse.mcp_message(self._redactor, body, answer=answer).hits)


class Overheard:
    """The source of an answer that somebody else listens to, too."""

    def __init__(self, response: Response, ear: Ear) -> None:
        self._response, self._ear = response, ear

    async def read(self) -> bytes:
        piece = await self._response.read()
        await self._ear.hear(piece)
        return piece

    def done(self) -> None:
        self._response.release()

    def abort(self) -> None:
        self._response.abort()
