"""What the listeners for HTTP share: reading requests, handing them to a recogniser, refusing, draining."""

import asyncio
import logging
import re
import socket
from abc import ABC, abstractmethod
from typing import NamedTuple, cast

from aiohttp import http_exceptions, http_parser, web
from aiohttp.http import HttpVersion11

from toolpolicy_sidecar import render
from toolpolicy_sidecar.call import NOTED, Incoming, ToolCall
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.listeners.http_body import HttpBody
from toolpolicy_sidecar.listeners.http_connection import Connection, Connections
from toolpolicy_sidecar.listeners.http_reply import HttpReply, last_words
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import MEANINGS, Reason
from toolpolicy_sidecar.recognise import http as http_recogniser
from toolpolicy_sidecar.recognise import mcp as mcp_recogniser
from toolpolicy_sidecar.record import Recorder, RefusedRequest
from toolpolicy_sidecar.runtime import Current, Limits, Runtime
from toolpolicy_sidecar.tool import ServerState

log = logging.getLogger("toolpolicy")

BACKLOG = 1024
_HOST = re.compile(rb"[A-Za-z0-9.\-_]*(?::[0-9]*)?|\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")
_POLL_S = 0.01


class Unready(OSError):  # noqa: N818 -- names what is missing
    """This process must not serve: aiohttp's C parser is missing, and its Python one lets requests be smuggled."""


class Asked(NamedTuple):
    """A request whose head was read. `noted` and `repeated` as in Incoming."""

    request: web.BaseRequest
    reply: HttpReply
    noted: dict[bytes, bytes]
    repeated: frozenset[bytes]
    arrived: float
    arrived_ms: int


class HttpListener(ABC):
    """A listener says where a request goes (`_route`); all else is the same for each."""

    def __init__(
        self, current: Current, pipeline: Pipeline, limits: Limits, clock: Clock, recorder: Recorder
    ) -> None:
        """Raises Unready."""
        self.head_s = limits.head_s
        if not http_parser.HttpRequestParser.__module__.endswith("._http_parser"):
            raise Unready("aiohttp's C extensions are missing; install a wheel of it")
        self._current, self._pipeline = current, pipeline
        self._limits, self._clock, self._recorder = limits, clock, recorder
        self._draining = False
        self._server: asyncio.Server | None = None
        self._http = Connections(self, limits)

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._http, host, port, backlog=BACKLOG, family=socket.AF_UNSPEC
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def drain(self, timeout_s: float) -> None:
        """Takes nothing new and lets what is in flight end, at most this long. Event streams that only wait for
        what a server may push are not waited for."""
        self._draining = True
        if self._server:
            self._server.close()
        ends = self._clock.monotonic() + timeout_s
        while self._current.in_flight > self._current.pushing and self._clock.monotonic() < ends:  # noqa: ASYNC110 -- a count has no event
            await asyncio.sleep(_POLL_S)
        await self.close()

    async def close(self) -> None:
        """At once: calls in flight are cut."""
        self._draining = True
        if self._server:
            self._server.close()
        await self._http.shutdown(0.1)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request. What the agent gets is written here, so aiohttp has nothing left to add."""
        self._current.in_flight += 1
        reply = HttpReply(request, self._clock)
        try:
            await self._answer(request, reply)
        except Stopped as stopped:
            await self._refuse(reply, stopped.problem, stopped.destination)
        except ConnectionError:
            reply.abort()
        except Exception:
            log.exception("a request failed in the sidecar itself")
            await self._refuse(reply, Problem(Reason.InternalError, "the sidecar failed, see its log"))
        finally:
            self._current.in_flight -= 1
        return reply

    async def _answer(self, request: web.BaseRequest, reply: HttpReply) -> None:
        """Raises Stopped."""
        arrived, arrived_ms = self._clock.monotonic(), self._clock.unix_ms()
        if self._draining:
            reply.close_after()
            raise Stopped(Problem(Reason.Draining, "the sidecar is shutting down", 1))
        runtime = self._current.runtime or self._before_any_policy()
        noted, repeated = _noted(request)
        self._refuse_odd(request, noted, reply)
        await self._route(Asked(request, reply, noted, repeated, arrived, arrived_ms), runtime)

    def _before_any_policy(self) -> Runtime:
        """What is in force at a cold start. Raises Stopped."""
        raise Stopped(Problem(Reason.NoPolicy, _NO_POLICY[self._current.cold_start], 1))

    @abstractmethod
    async def _route(self, asked: Asked, runtime: Runtime) -> None:
        """Answers the request. Raises Stopped."""

    def _incoming(self, asked: Asked, path: str, query: str | None) -> Incoming:
        return Incoming(
            asked.request.method,
            path,
            query,
            asked.request.raw_headers,
            asked.noted,
            asked.repeated,
            self._body(asked, self._limits.body_bytes, self._limits.request_s),
            asked.arrived,
            asked.arrived_ms,
        )

    async def _serve(self, incoming: Incoming, server: ServerState, reply: HttpReply) -> None:
        """Through recogniser and pipeline. Raises Stopped."""
        if server.protocol == "HTTP":
            await self._pipeline.call(http_recogniser.recognise(incoming, server), reply)
            return
        recognised = await mcp_recogniser.recognise(incoming, server, self._limits.body_bytes)
        if isinstance(recognised, ToolCall):
            await self._pipeline.call(recognised, reply)
            return
        self._current.pushing += recognised.pushes
        try:
            await self._pipeline.passing(recognised, reply)
        finally:
            self._current.pushing -= recognised.pushes

    def _body(self, asked: Asked, limit_bytes: int, request_s: float) -> HttpBody:
        request = asked.request
        length = request.content_length
        return HttpBody(
            request.content,
            length if length is not None or request.can_read_body else 0,
            limit_bytes=limit_bytes,
            deadline=asked.arrived + request_s,
            clock=self._clock,
            reply=asked.reply,
            expected=asked.noted.get(b"expect", b"").lower() == b"100-continue",
        )

    def _refuse_odd(self, request: web.BaseRequest, noted: dict[bytes, bytes], reply: HttpReply) -> None:
        """What aiohttp's parser lets pass and two servers could read in two ways. Raises Stopped."""
        if request.version.major != 1:
            reply.close_after()
            raise Stopped(Problem(Reason.MalformedRequest, "this is neither HTTP/1.1 nor HTTP/1.0"))
        if request.version < HttpVersion11 and "Transfer-Encoding" in request.headers:
            reply.close_after()
            raise Stopped(Problem(Reason.MalformedRequest, "HTTP/1.0 has no Transfer-Encoding"))
        if not _HOST.fullmatch(noted.get(b"host", b"")):
            raise Stopped(Problem(Reason.MalformedRequest, "the Host header is no host and port"))
        if cast("Connection", request.protocol).large and _head_bytes(request) > self._limits.header_bytes:
            reply.close_after()
            raise Stopped(self.head_too_large)
        if b"websocket" in noted.get(b"upgrade", b"").lower():  # any other may be ignored (RFC 9110, 7.8)
            reply.close_after()
            raise Stopped(Problem(Reason.UpgradeRefused, _NO_WEBSOCKET))

    async def _refuse(self, reply: HttpReply, problem: Problem, destination: str | None = None) -> None:
        rendered = render.of_request(problem)
        self._recorder.refused(
            RefusedRequest(
                reason=problem.reason, status=rendered.status, error=problem.detail, destination=destination
            )
        )
        if reply.started:
            reply.abort()
            return
        await reply.whole(rendered.status, rendered.headers, rendered.body)

    @property
    def head_too_large(self) -> Problem:
        return Problem(Reason.HeaderTooLarge, f"its headers are over {self._limits.header_bytes} bytes")

    def unheard(self, problem: Problem) -> bytes:
        """The answer to a head that nobody waits for any more."""
        self._recorder.refused(
            RefusedRequest(
                reason=problem.reason, status=MEANINGS[problem.reason].status, error=problem.detail
            )
        )
        return last_words(render.of_request(problem))

    def unreadable(self, error: BaseException | None) -> web.StreamResponse:
        """The answer to what is no HTTP request."""
        text = str(error)
        if isinstance(error, http_exceptions.LineTooLong):
            problem = Problem(Reason.HeaderTooLarge, f"a header is over {self._limits.header_bytes} bytes")
        elif isinstance(error, http_exceptions.BadHttpMessage) and text.endswith("Too many headers received"):
            problem = Problem(Reason.HeaderTooLarge, f"there are over {self._limits.header_count} headers")
        else:
            problem = Problem(Reason.MalformedRequest, "this is no valid HTTP/1.1 request")
        rendered = render.of_request(problem)
        self._recorder.refused(
            RefusedRequest(reason=problem.reason, status=rendered.status, error=problem.detail)
        )
        answer = web.Response(
            status=rendered.status, body=rendered.body, content_type="application/problem+json"
        )
        answer.force_close()
        return answer


_NO_WEBSOCKET = "no limit and no redaction would apply to what is said in a WebSocket"
_NO_POLICY = {
    "Deny": "no policy has reached this sidecar yet, so it lets nothing pass; is the operator running?",
    "Passthrough": (
        "no policy has reached this sidecar yet, so it does not know where any server is"
        " (coldStart Passthrough is for what comes by HTTP_PROXY); is the operator running?"
    ),
}


def _head_bytes(request: web.BaseRequest) -> int:
    lines = (len(name) + len(value) + len(b": \r\n") for name, value in request.raw_headers)
    return len(request.raw_path) + sum(lines)


def _noted(request: web.BaseRequest) -> tuple[dict[bytes, bytes], frozenset[bytes]]:
    noted: dict[bytes, bytes] = {}
    repeated: frozenset[bytes] = frozenset()
    for name, value in request.raw_headers:
        lower = name.lower()
        if lower in NOTED:
            if lower in noted:
                repeated |= {lower}
            else:
                noted[lower] = value
    return noted, repeated
