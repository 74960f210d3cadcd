"""What the listeners for HTTP share: reading requests, handing them to a recogniser, refusing, draining."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from toolpolicy_sidecar import render
from toolpolicy_sidecar.call import Incoming, ToolCall
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.destination import shown
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.http_connections import Connections
from toolpolicy_sidecar.listeners.http_reply import HttpReply, last_words
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.listeners.upgrade import AgentUpgrade
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import MEANINGS, Reason
from toolpolicy_sidecar.recognise import http as http_recogniser
from toolpolicy_sidecar.recognise import mcp as mcp_recogniser
from toolpolicy_sidecar.record import EgressRecord, Recorder, RefusedRequest
from toolpolicy_sidecar.runtime import Runtime
from toolpolicy_sidecar.tool import ServerState
from toolpolicy_sidecar.upstream.origin import Origin

log = logging.getLogger("toolpolicy")

_POLL_S = 0.01


class HttpListener(ABC):
    """A listener says where a request goes (`_route`); all else is the same for each."""

    def __init__(
        self, current: Current, pipeline: Pipeline, limits: Limits, clock: Clock, recorder: Recorder
    ) -> None:
        self._current, self._pipeline = current, pipeline
        self._limits, self._clock, self._recorder = limits, clock, recorder
        self._draining = False
        self._http = Connections(self, limits, clock, current.in_flight)
        self.websockets = 0
        """Open, or asked for."""

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port."""
        return await self._http.listen(host, port)

    async def drain(self, timeout_s: float) -> None:
        """Takes nothing new and lets what is in flight end, at most this long. Event streams that only wait for
        what a server may push are not waited for."""
        self._draining = True
        self._http.take_no_more()
        ends = self._clock.monotonic() + timeout_s
        while self._current.in_flight.waited_for and self._clock.monotonic() < ends:  # noqa: ASYNC110 -- a count has no event
            await asyncio.sleep(_POLL_S)
        await self.close()

    async def close(self) -> None:
        """At once: calls in flight are cut."""
        self._draining = True
        await self._http.close()

    async def handle(self, asked: Asked) -> None:
        """One request."""
        self._current.in_flight.requests += 1
        reply = asked.reply
        try:
            await self._route(asked, self._runtime(asked))
        except Stopped as stopped:
            await self._refuse(reply, stopped.problem, stopped.destination)
        except ConnectionError:
            reply.abort()
        except Exception:
            log.exception("a request failed in the sidecar itself")
            await self._refuse(reply, Problem(Reason.InternalError, "the sidecar failed, see its log"))
        finally:
            self._current.in_flight.requests -= 1

    def _runtime(self, asked: Asked) -> Runtime:
        """What is in force for this request, whose turn it is. Raises Stopped."""
        arrived = asked.arrived = self._clock.monotonic()
        asked.arrived_ms = self._clock.unix_ms()
        asked.body.bound(arrived + self._limits.request_s)
        if self._draining:
            asked.reply.close_after()
            raise Stopped(Problem(Reason.Draining, "the sidecar is shutting down", 1))
        runtime = self._current.runtime or self._before_any_policy()
        problem = asked.head.problem
        if problem is not None:
            asked.reply.close_after()
            raise Stopped(problem)
        return runtime

    def _before_any_policy(self) -> Runtime:
        """What is in force at a cold start. Raises Stopped."""
        raise Stopped(Problem(Reason.NoPolicy, _NO_POLICY[self._current.cold_start], 1))

    @abstractmethod
    def _route(self, asked: Asked, runtime: Runtime) -> Awaitable[None]:
        """Answers the request. Raises Stopped, at once or when it is awaited."""

    def _incoming(self, asked: Asked, path: str, query: str | None) -> Incoming:
        head = asked.head
        return Incoming(
            asked.method,
            path,
            query,
            head.headers,
            head.noted,
            head.repeated,
            asked.body,
            asked.arrived,
            asked.arrived_ms,
        )

    def _serve(self, incoming: Incoming, server: ServerState, asked: Asked) -> Awaitable[None]:
        """Through recogniser and pipeline. Raises Stopped, at once or when it is awaited."""
        if asked.head.upgrades:
            return self._upgraded(incoming, server, asked)
        if server.protocol == "HTTP":
            return self._pipeline.call(http_recogniser.recognise(incoming, server), asked.reply)
        return self._mcp(incoming, server, asked.reply)

    async def _mcp(self, incoming: Incoming, server: ServerState, reply: HttpReply) -> None:
        """Raises Stopped."""
        recognised = await mcp_recogniser.recognise(incoming, server, self._limits.body_bytes)
        if isinstance(recognised, ToolCall):
            await self._pipeline.call(recognised, reply)
            return
        self._current.in_flight.pushing += recognised.pushes
        try:
            await self._pipeline.passing(recognised, reply)
        finally:
            self._current.in_flight.pushing -= recognised.pushes

    async def _upgraded(self, incoming: Incoming, server: ServerState, asked: Asked) -> None:
        """Until the WebSocket is closed, if there comes to be one. Raises Stopped."""
        if server.protocol != "HTTP":
            raise Stopped(Problem(Reason.UpgradeRefused, _NO_WEBSOCKET))

        async def call(upgrade: AgentUpgrade) -> None:
            made = http_recogniser.recognise(replace(incoming, upgrade=upgrade), server)
            await self._pipeline.call(made, asked.reply)

        await self._websocket(asked, server.place.origin, call, server)

    async def _websocket(
        self,
        asked: Asked,
        origin: Origin,
        ask: Callable[[AgentUpgrade], Awaitable[None]],
        server: ServerState | None = None,
    ) -> None:
        """`ask`: the server there, and wait until what it may agree to is closed. `server` None: no policy names it.
        Raises Stopped."""
        if self.websockets >= self._limits.tunnels:
            text = f"{self.websockets} WebSockets are open, and no more may be"
            raise Stopped(Problem(Reason.ConcurrencyLimit, text, 1))
        upgrade = AgentUpgrade(asked, server, self._current, self._limits.tunnel_idle_s)
        self.websockets += 1
        try:
            await ask(upgrade)
        finally:
            self.websockets -= 1
            upgrade.end()
            if upgrade.opened:
                asked.connection.connection_lost(None)
                self._recorder.egress(
                    EgressRecord(
                        via="WebSocket",
                        destination=shown(origin),
                        status=101,
                        duration_ms=(self._clock.monotonic() - asked.arrived) * 1000,
                        sent_bytes=upgrade.sent_bytes,
                        received_bytes=upgrade.received_bytes,
                        error=upgrade.error,
                        server=None if server is None else server.name,
                    )
                )

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

    def unheard(self, problem: Problem) -> bytes:
        """The answer to what did not become a request."""
        self._recorder.refused(
            RefusedRequest(
                reason=problem.reason, status=MEANINGS[problem.reason].status, error=problem.detail
            )
        )
        return last_words(render.of_request(problem))


_NO_WEBSOCKET = "no limit and no redaction would apply to what is said in a WebSocket; MCP has none"
_NO_POLICY = {
    "Deny": "no policy has reached this sidecar yet, so it lets nothing pass; is the operator running?",
    "Passthrough": (
        "no policy has reached this sidecar yet, so it does not know where any server is"
        " (coldStart Passthrough is for what comes by HTTP_PROXY); is the operator running?"
    ),
}
