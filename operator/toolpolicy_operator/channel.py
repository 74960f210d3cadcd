"""The control channel's end in the operator: one WebSocket per sidecar.

A slow or hostile sidecar harms nobody else: frames are bounded, what is to be sent is always the latest
state and never a queue, and a peer that does not answer pings is gone in seconds.
"""

import asyncio
import itertools
import logging
import ssl
import time
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import WSMsgType, web

from toolpolicy_api import channel
from toolpolicy_operator.api import ApiError
from toolpolicy_operator.fleet import Fleet
from toolpolicy_operator.identity import Caller, Identities, Refused
from toolpolicy_operator.index import Index, PodEntry

log = logging.getLogger(__name__)

PING_S = 5.0
HELLO_WITHIN_S = 10.0
SEND_WITHIN_S = 10.0


class Connection:
    """One sidecar. `poke` makes it get what its pod should enforce, if that is not what it has."""

    def __init__(self, uid: str, socket: web.WebSocketResponse) -> None:
        self.uid = uid
        self.socket = socket
        self.sent: str | None = None
        self._due = asyncio.Event()

    def poke(self) -> None:
        self._due.set()

    async def due(self) -> None:
        await self._due.wait()
        self._due.clear()


class Channel:
    """`find_pod` asks the API server for a pod that the watch has not shown yet. `on_report` pokes the writer."""

    def __init__(
        self,
        index: Index,
        fleet: Fleet,
        identities: Identities,
        *,
        find_pod: Callable[[Caller], Awaitable[PodEntry | None]],
        on_change: Callable[[str], None],
        on_transitions: Callable[[PodEntry, tuple[channel.Transition, ...]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index, self._fleet, self._identities = index, fleet, identities
        self._find_pod, self._on_change, self._on_transitions = find_pod, on_change, on_transitions
        self._clock = clock
        self._connections: dict[str, Connection] = {}
        self._versions = itertools.count(int(time.time()))
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listens; returns the port."""
        app = web.Application()
        app.router.add_get(channel.PATH, self._serve)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        await site.start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        for connection in list(self._connections.values()):
            await connection.socket.close(code=1012, message=b"operator stops")
        if self._runner:
            await self._runner.cleanup()

    @property
    def connections(self) -> int:
        return len(self._connections)

    def poke(self, namespace: str) -> None:
        """The namespace's policies or pods changed."""
        for pod in self._index.pods_of(namespace):
            connection = self._connections.get(pod.uid)
            if connection:
                connection.poke()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            caller = await self._identities.of(request.headers.get("Authorization"))
        except Refused as refused:
            log.warning("sidecar refused", extra={"peer": request.remote, "why": str(refused)})
            return web.Response(status=401, text=f"{refused}\n")
        except ApiError as error:
            return web.Response(status=503, text=f"the API server cannot be asked: {error}\n")
        pod = self._index.pods.get(caller.uid) or await self._find_pod(caller)
        if pod is None or (pod.namespace, pod.name) != (caller.namespace, caller.pod):
            log.warning(
                "sidecar refused", extra={"pod": f"{caller.namespace}/{caller.pod}", "why": "no such pod"}
            )
            return web.Response(status=403, text="the token's pod is not an injected pod of this cluster\n")
        socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=channel.MAX_FRAME_BYTES)
        await socket.prepare(request)
        await self._converse(pod, Connection(pod.uid, socket))
        return socket

    async def _converse(self, pod: PodEntry, connection: Connection) -> None:
        older = self._connections.get(pod.uid)
        self._connections[pod.uid] = connection
        if older:
            await older.socket.close(code=1008, message=b"a newer connection of this pod took over")
        self._fleet.connect(pod.uid, self._clock())
        sending = asyncio.ensure_future(self._send(connection))
        try:
            async with asyncio.timeout(HELLO_WITHIN_S):
                first = await connection.socket.receive()
            self._heard(pod, connection, first.data if first.type is WSMsgType.TEXT else b"")
            async for message in connection.socket:
                if message.type is not WSMsgType.TEXT:
                    break
                self._heard(pod, connection, message.data)
        except (ValueError, TimeoutError) as error:
            why = str(error) or "no hello"
            log.warning("sidecar dropped", extra={"pod": f"{pod.namespace}/{pod.name}", "why": why})
            await connection.socket.close(code=1008, message=why.encode()[:100])
        finally:
            sending.cancel()
            if self._connections.get(pod.uid) is connection:
                del self._connections[pod.uid]
                self._fleet.disconnect(pod.uid, self._clock())
                self._on_change(pod.namespace)

    def _heard(self, pod: PodEntry, connection: Connection, frame: str | bytes) -> None:
        """Raises ValueError (msgspec's) for what is no message."""
        message = channel.decode_from_sidecar(frame)
        now = self._clock()
        match message:
            case channel.Hello(hash=digest):
                self._fleet.enforces(pod.uid, digest, now)
                connection.sent = digest
                connection.poke()
            case channel.Ack(hash=digest):
                self._fleet.enforces(pod.uid, digest, now)
            case channel.Nack():
                log.error(
                    "snapshot refused",
                    extra={
                        "pod": f"{pod.namespace}/{pod.name}",
                        "hash": message.hash,
                        "why": message.error[:300],
                    },
                )
                self._fleet.refuses(pod.uid, message, now)
            case channel.Heartbeat(hash=digest, tools=tools):
                self._fleet.enforces(pod.uid, digest, now)
                self._fleet.reports(pod.uid, tools, now, complete=True)
            case channel.Report(transitions=transitions, tools=tools):
                self._fleet.reports(pod.uid, tools, now, complete=False)
                self._on_transitions(pod, transitions)
        self._on_change(pod.namespace)

    async def _send(self, connection: Connection) -> None:
        while True:
            await connection.due()
            pod = self._index.pods.get(connection.uid)
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
                await connection.socket.close(code=1008, message=b"too slow")
                return
