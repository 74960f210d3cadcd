"""Which answer stands in for the one that the tool does not give."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from msgspec import UNSET, UnsetType

from toolpolicy_api import snapshot
from toolpolicy_sidecar import cleanse
from toolpolicy_sidecar.call import McpCall, Reply, ToolCall
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.deadline import of_call
from toolpolicy_sidecar.fallback import answer, occasion
from toolpolicy_sidecar.fallback.cache import Answers, Whole
from toolpolicy_sidecar.fallback.held import HeldReply
from toolpolicy_sidecar.fallback.other_tool import final_of, said
from toolpolicy_sidecar.fallback.same_call import digest
from toolpolicy_sidecar.fallback.schemas import Known, fit_text, satisfies
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.record import FallbackMissed
from toolpolicy_sidecar.render import Rendered
from toolpolicy_sidecar.upstream.headers import Header

LEAST_S = 0.01
"""With less time another tool is not even asked. Timers may fire a millisecond early, too."""


class Speaker(Protocol):
    """Who knows what the agent said: its whole body, None when it is not known whole."""

    async def said(self) -> bytes | None: ...


class Missed(Exception):  # noqa: N818 -- names what happened
    """The fallback cannot answer this call."""

    def __init__(self, why: FallbackMissed) -> None:
        super().__init__(why)
        self.why: FallbackMissed = why


class Fallbacks:
    """Of a whole process: what is kept outlives a reload."""

    def __init__(self, clock: Clock, make_call: Callable[[ToolCall, Reply], Awaitable[None]]) -> None:
        self._clock, self._make_call = clock, make_call
        self._answers = Answers()

    def keep(self, call: ToolCall, body: bytes | None, good: Whole) -> None:
        """The tool's own answer, which is whole and good. `body` is the agent's, for HTTP."""
        if call.mcp is not None and not answer.is_complete(good.body):
            return
        key = digest(call, body)
        if key is not None:
            self._answers.put(call.tool.circuit.key, key, good, self._clock.monotonic())

    async def choose(
        self, call: ToolCall, agent: Speaker, problem: Problem, progress: Progress
    ) -> Rendered | None:
        """None: the tool has no fallback for this, or it was missed; the agent gets the standard answer."""
        fallback = call.tool.fallback
        if fallback is None or problem.reason not in occasion.REASONS:
            return None
        try:
            match fallback:
                case snapshot.MessageFallback():
                    progress.fallback = "Message"
                    return answer.message(call, problem, fallback.text)
                case snapshot.StaticFallback():
                    progress.fallback = "Static"
                    return _static(call, problem, fallback.content)
                case snapshot.CachedFallback():
                    progress.fallback = "Cached"
                    return self._cached(
                        call, await agent.said(), problem, progress, fallback.max_age_ms / 1000
                    )
                case snapshot.ToolFallback():
                    progress.fallback = "Tool"
                    return await self._other(call, await agent.said(), problem)
        except Missed as missed:
            progress.fallback_missed = missed.why
            return None

    def _cached(
        self, call: ToolCall, body: bytes | None, problem: Problem, progress: Progress, max_age_s: float
    ) -> Rendered:
        """Raises Missed."""
        key, now = digest(call, body), self._clock.monotonic()
        kept = None if key is None else self._answers.get(call.tool.circuit.key, key, now, max_age_s)
        if kept is None:
            raise Missed("NotCached")
        good, age_s = _redacted(call, kept.answer, progress), int(now - kept.at)
        if call.mcp is None:
            return answer.cached_http(problem, good, age_s)
        result = answer.result_of(good.body)
        _refuse_misfit(result, _known(call, call.mcp))
        return answer.cached_mcp(call, call.mcp, problem, result, age_s)

    async def _other(self, call: ToolCall, body: bytes | None, problem: Problem) -> Rendered:
        """Raises Missed."""
        other, now = call.tool.other, self._clock.monotonic()
        if other is None:
            raise Missed("NoSuchTool")
        left_s = of_call(call.tool, call.incoming).at - now
        if left_s < LEAST_S:
            raise Missed("NoTimeLeft")
        made = said(call, other, body, left_s, now)
        if made is None:
            raise Missed("NotMapped")
        held = HeldReply()
        await self._make_call(made, held)
        if held.whole_body is None or not 200 <= held.status < 300:
            raise Missed("ToolFailed")
        if call.mcp is None or made.mcp is None:
            return answer.other_http(problem, other.tool.name, held.status, held.headers, held.whole_body)
        message = final_of(held.whole_body, made.mcp.identifier, events=_are_events(held.headers))
        if message is None or not answer.is_complete(message):
            raise Missed("ToolFailed")
        result = answer.result_of(message)
        _refuse_misfit(result, _known(call, call.mcp))
        return answer.other_mcp(call, call.mcp, problem, other.tool.name, result)


def _are_events(headers: tuple[Header, ...]) -> bool:
    kinds = [value.lower() for name, value in headers if name.lower() == b"content-type"]
    return bool(kinds) and kinds[0].startswith(b"text/event-stream")


def _static(call: ToolCall, problem: Problem, content: str) -> Rendered:
    """Raises Missed."""
    if call.mcp is None:
        return answer.static_http(problem, content)
    fitting = fit_text(content, _known(call, call.mcp))
    if fitting is None:
        raise Missed("SchemaMismatch")
    return answer.static_mcp(call, call.mcp, problem, content, fitting.structured)


def _known(call: ToolCall, mcp: McpCall) -> Known | UnsetType:
    schemas = call.server.schemas
    return UNSET if schemas is None else schemas.of(mcp.name)


def _refuse_misfit(result: dict[str, Any], known: Known | UnsetType) -> None:
    """The schema, or what is redacted, may have changed since. Raises Missed."""
    if isinstance(known, bytes):
        structured = result.get("structuredContent", UNSET)
        if structured is UNSET or satisfies(structured, known) == "no":
            raise Missed("SchemaMismatch")


def _redacted(call: ToolCall, good: Whole, progress: Progress) -> Whole:
    """By the rules in force now: they may have become stricter since it was kept. Raises Missed."""
    redactor = call.on_response
    if redactor is None:
        return good
    try:
        if call.mcp is not None:
            found = cleanse.mcp_message(redactor, good.body)
        else:
            found = cleanse.http_answer(redactor, good.body, good.content_type.decode("latin-1"))
    except Stopped:
        raise Missed("NotCached") from None
    progress.hit(found.hits)
    return good._replace(body=found.value)
