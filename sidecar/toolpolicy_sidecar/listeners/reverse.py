"""`http://127.0.0.1:19001/<server>/<rest>` → `<server.url>/<rest>`."""

import asyncio
import re
import socket
from typing import Any

from aiohttp import http_exceptions, http_parser, web
from aiohttp.web_protocol import RequestHandler

from toolpolicy_sidecar.call import Incoming, Passing, Refused
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.pipeline import Pipeline, send
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.recognise import http as http_recogniser
from toolpolicy_sidecar.recognise import mcp as mcp_recogniser
from toolpolicy_sidecar.record import Recorder, RefusedRequest
from toolpolicy_sidecar.render import Problem, of_request
from toolpolicy_sidecar.runtime import Current, Limits

KEEP_ALIVE_S = 75.0
BACKLOG = 1024

# Segments that a server may read as something else than we do: dots, encoded slashes, NUL, backslashes.
_AMBIGUOUS = re.compile(r"(?i)/(?:\.|%2e){1,2}(?:/|$)|%2f|%5c|%00|\\|//")


class Unready(RuntimeError):  # noqa: N818 -- names what is missing
    """This process must not serve: aiohttp's C parser is missing, and its Python one lets requests be smuggled."""


class ReverseListener:
    def __init__(
        self, current: Current, pipeline: Pipeline, limits: Limits, clock: Clock, recorder: Recorder
    ) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise Unready("aiohttp's C extensions are missing; install a wheel of it")
        self._current, self._pipeline = current, pipeline
        self._limits, self._clock, self._recorder = limits, clock, recorder
        self._draining = False
        self._server: asyncio.Server | None = None
        self._http = _Server(self)

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._http, host, port, backlog=BACKLOG, family=socket.AF_UNSPEC
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def drain(self, timeout_s: float) -> None:
        """Takes nothing new, lets what is in flight end, at most this long."""
        self._draining = True
        if self._server:
            self._server.close()
        ends = self._clock.monotonic() + timeout_s
        while self._current.in_flight and self._clock.monotonic() < ends:  # noqa: ASYNC110 -- once, at the end
            await asyncio.sleep(0.01)
        await self._http.shutdown(0.1)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._current.in_flight += 1
        try:
            return await self._handle(request)
        finally:
            self._current.in_flight -= 1

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived, arrived_ms = self._clock.monotonic(), self._clock.unix_ms()
        if self._draining:
            return await self.refuse(
                request, Refused(Reason.Draining, "the sidecar is shutting down"), close=True
            )
        runtime = self._current.runtime
        if runtime is None:
            text = "no policy has reached this sidecar yet, so it knows no tools; is the operator running?"
            return await self.refuse(request, Refused(Reason.NoPolicy, text, retry_after_s=1))
        path, _, query = request.raw_path.partition("?")
        if not path.startswith("/") or _AMBIGUOUS.search(path):
            text = "the path is absolute, or has empty, dot or encoded-slash segments: it could be read in two ways"
            return await self.refuse(request, Refused(Reason.MalformedRequest, text))
        name, slash, rest = path[1:].partition("/")
        server = runtime.servers.get(name)
        if server is None:
            known = ", ".join(sorted(runtime.servers)) or "none"
            text = f"no server {name[:64]!r} in this pod's policies; known: {known}"
            return await self.refuse(request, Refused(Reason.UnknownServer, text))
        try:
            async with asyncio.timeout(self._limits.request_s):
                body = await self._body(request)
        except TimeoutError:
            text = f"the request was not complete within {self._limits.request_s:g} s"
            return await self.refuse(request, Refused(Reason.RequestTimeout, text), close=True)
        if body is None:
            text = f"the body is over {self._limits.body_bytes} bytes"
            return await self.refuse(request, Refused(Reason.BodyTooLarge, text), close=True)
        incoming = Incoming(
            request.method,
            f"{slash}{rest}",
            query,
            tuple(request.raw_headers),
            body,
            arrived,
            arrived_ms,
        )
        recognised = (mcp_recogniser if server.protocol == "MCP" else http_recogniser).recognise(
            incoming, server
        )
        if isinstance(recognised, Refused):
            return await self.refuse(request, recognised)
        if isinstance(recognised, Passing):
            return await self._pipeline.passing(recognised, request)
        return await self._pipeline.call(recognised, request)

    async def _body(self, request: web.BaseRequest) -> bytes | None:
        """None: over the limit, by its own word or in fact."""
        limit = self._limits.body_bytes
        if (request.content_length or 0) > limit:
            return None
        if not request.can_read_body:
            return b""
        pieces, size = [], 0
        async for piece in request.content.iter_any():
            size += len(piece)
            if size > limit:
                return None
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def refuse(
        self, request: web.BaseRequest, refused: Refused, *, close: bool = False
    ) -> web.StreamResponse:
        problem = Problem(refused.reason, refused.detail, refused.retry_after_s)
        rendered = of_request(problem, refused.extra, refused.body)
        self._recorder.refused(
            RefusedRequest(reason=refused.reason, status=rendered.status, error=refused.detail[:200])
        )
        if close:
            request.protocol.keep_alive(False)  # noqa: FBT003 -- aiohttp's signature
        return await send(request, rendered)

    def unreadable(self, error: BaseException | None) -> tuple[int, bytes]:
        """For what is no HTTP request: status and problem."""
        too_large = isinstance(error, http_exceptions.LineTooLong)
        reason = Reason.HeaderTooLarge if too_large else Reason.MalformedRequest
        text = (
            f"a header is over {self._limits.header_bytes} bytes"
            if too_large
            else "this is no valid HTTP request"
        )
        rendered = of_request(Problem(reason, text))
        self._recorder.refused(RefusedRequest(reason=reason, status=rendered.status, error=text))
        return rendered.status, rendered.body

    @property
    def header_bytes(self) -> int:
        return self._limits.header_bytes


class _Handler(RequestHandler):
    """aiohttp's connection handler, with our words for what it cannot parse."""

    __slots__ = ("_listener",)

    def __init__(self, listener: ReverseListener, server: "_Server", **options: Any) -> None:
        super().__init__(server, **options)
        self._listener = listener

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by aiohttp; `request` and `message` are its signature."""
        del request, message
        if status == 400:
            status, body = self._listener.unreadable(exc)
        else:
            problem = Problem(Reason.InternalError, "the sidecar failed; see its log")
            body = of_request(problem).body
        answer = web.Response(status=status, body=body, content_type="application/problem+json")
        answer.force_close()
        return answer


class _Server(web.Server):
    """Makes our handlers. A client that hangs up cancels its call."""

    def __init__(self, listener: ReverseListener) -> None:
        super().__init__(
            listener.handle,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=KEEP_ALIVE_S,
            max_line_size=listener.header_bytes,
            max_field_size=listener.header_bytes,
        )
        self._listener = listener

    def __call__(self) -> RequestHandler:
        return _Handler(self._listener, self, loop=self._loop, **self._kwargs)
