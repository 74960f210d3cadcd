"""The control channel's end in the operator: one WebSocket per sidecar.

A slow or hostile sidecar harms nobody else: what has not authenticated is gone in seconds, frames are bounded
in size and paced, what is to be sent is always the latest state and never a queue, what a sidecar says counts
for the circuits of its own pod alone, and a peer that does not answer pings is gone in seconds too.
"""

import asyncio
import itertools
import logging
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import msgspec
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web
from aiohttp.web_protocol import RequestHandler

from toolpolicy_api import channel
from toolpolicy_operator.api import ApiError
from toolpolicy_operator.fleet import Fleet
from toolpolicy_operator.identity import Busy, Caller, Identities, Refused
from toolpolicy_operator.index import Index, PodEntry
from toolpolicy_operator.metrics import Metrics

log = logging.getLogger(__name__)

PING_S = 5.0
TLS_WITHIN_S = 5.0
UPGRADED_WITHIN_S = 20.0
"""From the connection's start. A TokenReview may take its time; a silent peer may not."""
STRANGERS_PER_PEER = 64
"""Connections of one address that have not authenticated yet. A node may hide the addresses of its pods."""
HELLO_WITHIN_S = 10.0
SEND_WITHIN_S = 10.0
FAREWELL_S = 1.0
BYTES_PER_S = 256 * 1024
"""What one sidecar may say in the long run: a heartbeat of the largest policy is 128 KiB each 10 s."""
BURST_BYTES = 2 * 1024 * 1024
FRAME_BYTES = 1024
"""The least that a frame counts for."""
FINDINGS = 200
"""Of one heartbeat that are kept."""
NACK_CHARACTERS = 1000


class Dropped(Exception):  # noqa: N818 -- an event in the life of a connection
    """The peer broke the protocol; the message is for it and for the log."""


class Connection:
    """One sidecar. `poke` makes it get what its pod should enforce, if that is not what it has."""

    def __init__(self, pod: PodEntry, socket: web.WebSocketResponse, now: float) -> None:
        self.pod = pod
        self.socket = socket
        self.sent: str | None = None
        self.changed_at: float | None = None
        """Since when this process knows of a change that the sidecar has not confirmed."""
        self._due = asyncio.Event()
        self._debt_bytes = 0.0
        self._paid_at = now

    def poke(self) -> None:
        self._due.set()

    async def due(self) -> None:
        await self._due.wait()
        self._due.clear()

    def pause_s(self, size_bytes: int, now: float) -> float:
        """How long to leave the peer waiting after a frame of this size."""
        paid = (now - self._paid_at) * BYTES_PER_S
        self._debt_bytes = max(0.0, self._debt_bytes - paid) + max(size_bytes, FRAME_BYTES)
        self._paid_at = now
        return max(0.0, self._debt_bytes - BURST_BYTES) / BYTES_PER_S


class Channel:
    """`find_pod` asks the API server for a pod that the watch has not shown yet. `on_state` hears that a
    namespace's pods are in another state than before, `on_counts` that only numbers have moved,
    `on_tools` what a pod (its uid) says of its own circuits."""

    def __init__(
        self,
        index: Index,
        fleet: Fleet,
        identities: Identities,
        metrics: Metrics,
        *,
        find_pod: Callable[[Caller], Awaitable[PodEntry | None]],
        on_state: Callable[[str], None],
        on_counts: Callable[[str], None],
        on_transition: Callable[[PodEntry, channel.Transition], None],
        on_tools: Callable[[str, Sequence[channel.ToolReport]], None] = lambda _, __: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index, self._fleet, self._identities, self._metrics = index, fleet, identities, metrics
        self._find_pod, self._on_transition, self._on_tools = find_pod, on_transition, on_tools
        self._on_state, self._on_counts = on_state, on_counts
        self._clock = clock
        self._connections: dict[str, Connection] = {}
        self._versions = itertools.count(int(time.time()))
        self._http = _Connections(self.serve)
        self._server: asyncio.Server | None = None
        self._farewells: set[asyncio.Task[bool]] = set()

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Listens; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._http, host, port, ssl=tls, ssl_handshake_timeout=TLS_WITHIN_S, backlog=1024
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """All at once: a thousand sidecars, of which some do not answer, delay no handover."""
        if self._server:
            self._server.close()
        for connection in self._connections.values():
            self._part(connection, WSCloseCode.SERVICE_RESTART, "operator stops")
        if self._farewells:
            await asyncio.wait(self._farewells, timeout=FAREWELL_S)
        await self._http.shutdown(0.1)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def poke(self, namespace: str) -> None:
        """The namespace's policies or pods changed."""
        now = self._clock()
        for pod in self._index.pods_of(namespace):
            connection = self._connections.get(pod.uid)
            if connection:
                if connection.changed_at is None and self._index.assignment(pod).hash != connection.sent:
                    connection.changed_at = now
                connection.poke()

    def part(self, uid: str) -> None:
        """The pod is gone: so is its sidecar."""
        connection = self._connections.get(uid)
        if connection:
            self._part(connection, WSCloseCode.POLICY_VIOLATION, "the pod is gone")

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != channel.PATH or request.method != "GET":
            return self._no(404, f"only {channel.PATH} is here")
        try:
            caller = await self._identities.of(request.headers.get("Authorization"), request.remote or "")
        except Refused as refused:
            log.warning("sidecar refused", extra={"peer": request.remote, "why": str(refused)})
            return self._no(401, str(refused))
        except Busy as busy:
            return self._no(503, str(busy))
        except ApiError as error:
            log.warning("sidecar not checked", extra={"peer": request.remote, "why": str(error)})
            return self._no(503, "the API server cannot be asked; try again")
        pod = self._index.pods.get(caller.uid) or await self._find_pod(caller)
        if pod is None or (pod.namespace, pod.name) != (caller.namespace, caller.pod):
            name = f"{caller.namespace}/{caller.pod}"
            log.warning("sidecar refused", extra={"pod": name, "why": "no such injected pod"})
            return self._no(403, "the token's pod is not an injected pod of this cluster")
        socket = web.WebSocketResponse(
            heartbeat=PING_S,
            autoping=False,
            compress=False,
            max_msg_size=channel.MAX_FRAME_BYTES,
            timeout=FAREWELL_S,
        )
        await socket.prepare(request)
        cast("_Connection", request.protocol).admitted()
        await self._converse(Connection(pod, socket, self._clock()))
        return socket

    def _no(self, status: int, why: str) -> web.Response:
        self._metrics.refused.labels(str(status)).inc()
        answer = web.Response(status=status, text=f"{why}\n")
        answer.force_close()
        return answer

    async def _converse(self, connection: Connection) -> None:
        pod, sending = connection.pod, None
        try:
            async with asyncio.timeout(HELLO_WITHIN_S):
                hello = await connection.socket.receive()
            self._greet(connection, hello)
            sending = asyncio.ensure_future(self._send(connection))
            async for message in connection.socket:
                await self._frame(connection, message)
        except (Dropped, ValueError, RecursionError, TimeoutError) as error:
            why = str(error) or "no hello came"
            log.warning("sidecar dropped", extra={"pod": f"{pod.namespace}/{pod.name}", "why": why[:300]})
            self._metrics.dropped.inc()
            await connection.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=why.encode()[:100])
        except ConnectionError:
            pass
        finally:
            if sending:
                sending.cancel()
            if self._connections.get(pod.uid) is connection:
                del self._connections[pod.uid]
                self._fleet.disconnect(pod.uid, self._clock())
                self._on_state(pod.namespace)

    def _greet(self, connection: Connection, frame: WSMessage) -> None:
        """Takes the connection for the pod's only one. Raises Dropped, or ValueError for what is no message."""
        if frame.type is not WSMsgType.TEXT:
            raise Dropped("the first frame must be a hello")
        hello, pod = channel.decode_from_sidecar(frame.data), connection.pod
        if not isinstance(hello, channel.Hello):
            raise Dropped("the first frame must be a hello")
        if hello.protocol != channel.PROTOCOL:
            raise Dropped(f"this operator speaks protocol {channel.PROTOCOL}, not {hello.protocol}")
        if pod.uid not in self._index.pods:
            raise Dropped("the pod is gone")
        older = self._connections.get(pod.uid)
        if older:
            self._part(older, WSCloseCode.POLICY_VIOLATION, "a newer connection of this pod took over")
        self._connections[pod.uid] = connection
        self._fleet.connect(pod.uid, hello.hash, self._clock())
        connection.sent = hello.hash
        connection.poke()
        self._on_state(pod.namespace)

    async def _frame(self, connection: Connection, frame: WSMessage) -> None:
        """Raises Dropped, or ValueError (msgspec's) for what is no message."""
        match frame.type:
            case WSMsgType.TEXT:
                self._heard(connection, channel.decode_from_sidecar(frame.data))
            case WSMsgType.PING:
                await connection.socket.pong(frame.data)
            case WSMsgType.PONG:
                return
            case WSMsgType.ERROR:
                raise Dropped(str(frame.data))
            case _:
                raise Dropped("messages are text frames")
        pause_s = connection.pause_s(len(frame.data), self._clock())
        if pause_s:
            await asyncio.sleep(pause_s)

    def _heard(self, connection: Connection, message: channel.FromSidecar) -> None:
        pod, now = connection.pod, self._clock()
        if self._connections.get(pod.uid) is not connection:
            return
        known = self._index.pods.get(pod.uid)
        keys = self._index.assignment(known).keys if known else frozenset()
        changed = True
        match message:
            case channel.Hello():
                raise Dropped("a second hello")
            case channel.Ack(hash=digest):
                self._fleet.enforces(pod.uid, digest)
                self._metrics.answers.labels("acked").inc()
                if connection.changed_at is not None and digest == connection.sent:
                    self._metrics.confirmed.observe(now - connection.changed_at)
                    connection.changed_at = None
            case channel.Nack(hash=digest, error=error):
                error = error[:NACK_CHARACTERS]
                self._metrics.answers.labels("nacked").inc()
                where = f"{pod.namespace}/{pod.name}"
                log.error("snapshot refused", extra={"pod": where, "hash": digest[:64], "why": error})
                connection.changed_at = None
                self._fleet.refuses(pod.uid, channel.Nack(version=message.version, hash=digest, error=error))
            case channel.Heartbeat(hash=digest, tools=tools):
                moved = self._fleet.enforces(pod.uid, digest)
                own = [report for report in tools if report.key in keys]
                self._on_tools(pod.uid, own)
                policies = {key.policy for key in keys}
                findings = [
                    tuple(each for each in told[:FINDINGS] if each.policy in policies)
                    for told in (message.redacted, message.would_find)
                ]
                changed = self._fleet.heartbeat(pod.uid, own, now, *findings) or moved
            case channel.Report(transitions=transitions, tools=tools):
                own = [report for report in tools if report.key in keys]
                self._on_tools(pod.uid, own)
                self._fleet.report(pod.uid, own)
                for transition in transitions:
                    if transition.key in keys:
                        self._on_transition(pod, transition)
        (self._on_state if changed else self._on_counts)(pod.namespace)

    async def _send(self, connection: Connection) -> None:
        """The latest, whenever it is another than what was sent."""
        while True:
            await connection.due()
            pod = self._index.pods.get(connection.pod.uid)
            if pod is None:
                continue
            assignment = self._index.assignment(pod)
            if assignment.hash == connection.sent:
                continue
            connection.sent = assignment.hash
            message = channel.Config(
                version=next(self._versions), hash=assignment.hash, snapshot=msgspec.Raw(assignment.data)
            )
            try:
                async with asyncio.timeout(SEND_WITHIN_S):
                    await connection.socket.send_str(channel.encode(message).decode())
            except (ConnectionError, TimeoutError):
                self._part(connection, WSCloseCode.POLICY_VIOLATION, "too slow")
                return
            self._metrics.answers.labels("pushed").inc()

    def _part(self, connection: Connection, code: int, why: str) -> None:
        """Closes without waiting for it: the peer may be dead."""
        farewell = asyncio.ensure_future(connection.socket.close(code=code, message=why.encode()))
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)


class _Connection(RequestHandler):
    """aiohttp's handler, which closes what does not become a sidecar's connection in time."""

    connections: "_Connections"
    peer = ""
    expiry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        strangers = self.connections.strangers
        strangers[self.peer] += 1
        self.expiry = asyncio.get_running_loop().call_later(UPGRADED_WITHIN_S, self.force_close)
        if strangers[self.peer] > STRANGERS_PER_PEER:
            self.force_close()

    def admitted(self) -> None:
        if self.expiry:
            self.expiry.cancel()
            self.expiry = None
            strangers = self.connections.strangers
            strangers[self.peer] -= 1
            if not strangers[self.peer]:
                del strangers[self.peer]

    def connection_lost(self, exc: BaseException | None) -> None:
        self.admitted()
        super().connection_lost(exc)


class _Connections(web.Server):
    """Makes our handlers, and counts those that have not authenticated yet, by address."""

    def __init__(self, serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(serve, handler_cancellation=True, access_log=None)
        self.strangers: Counter[str] = Counter()

    def __call__(self) -> RequestHandler:
        handler = _Connection(self, loop=self._loop, **self._kwargs)
        handler.connections = self
        return handler
