"""CONNECT to hosts that a policy names: what is inside of the tunnel is HTTP, and goes through the pipeline."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from toolpolicy_sidecar.destination import shown
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.http_connection import Connection
from toolpolicy_sidecar.listeners.http_connections import Connections
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.listeners.tunnels import ESTABLISHED
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.runtime import Runtime
from toolpolicy_sidecar.upstream.origin import Origin

if TYPE_CHECKING:
    from toolpolicy_sidecar.interception.authority import (
        Authority,
    )  # loads cryptography: only where it is used

log = logging.getLogger("toolpolicy")

_SHUTDOWN_S = 1.0
"""For the agent to say good-bye, too."""


class Interception:
    """`authority` None: there is none, and TLS to hosts that a policy names is refused."""

    def __init__(self, connections: Connections, limits: Limits) -> None:
        self._connections, self._limits = connections, limits
        self.authority: Authority | None = None
        self._load: Callable[[], Authority] | None = None
        self._loading: asyncio.Future[Authority] | None = None
        self.opened = self.handshakes_failed = 0

    def found(self, load: Callable[[], "Authority"], runtime: Runtime | None) -> None:
        """There is an authority. Loading it takes 15 MiB and 0.2 s: not before a policy has an https server."""
        self._load = load
        if runtime is not None:
            self.prepare(runtime)

    def prepare(self, runtime: Runtime) -> None:
        if runtime.egress.intercepts and self._load is not None and self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._load))

    async def secured(self, asked: Asked, origin: Origin) -> None:
        """With TLS around it. Raises Stopped."""
        context = await self._context(origin)
        connection = asked.connection
        if connection.taken():
            raise Stopped(Problem(Reason.MalformedRequest, "TLS must not begin before CONNECT is answered"))
        transport = asked.reply.hand_over()
        transport.write(ESTABLISHED)
        between = _Between()
        try:
            inner = await self._handshake(transport, between, context)
        except OSError as error:
            self._handshake_failed(origin, error)
            transport.abort()
            connection.connection_lost(None)
            return
        await self._serve(connection, inner, origin, between)

    async def redirected(self, connection: socket.socket, origin: Origin) -> None:
        """A connection that the kernel has redirected here, with nothing of it read yet. Raises Stopped, OSError."""
        context = await self._context(origin) if origin.scheme == "https" else None
        inside, lost = self._inside(origin)
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: inside,
                connection,
                ssl=context,
                ssl_handshake_timeout=self._limits.handshake_s if context else None,
                ssl_shutdown_timeout=_SHUTDOWN_S if context else None,
            )
        except OSError as error:
            if context is not None:
                self._handshake_failed(origin, error)
            raise
        self.opened += 1
        try:
            await lost
        finally:
            transport.abort()

    async def plain(self, asked: Asked, origin: Origin) -> None:
        """Without TLS, as Node sends it."""
        connection = asked.connection
        transport = asked.reply.hand_over()
        transport.write(ESTABLISHED)
        between = _Between()
        between.data += connection.taken()
        await self._serve(connection, transport, origin, between)

    async def _context(self, origin: Origin) -> ssl.SSLContext:
        """Raises Stopped."""
        if self.authority is None and self._loading is not None:
            self.authority = await asyncio.shield(self._loading)
        if self.authority is None:
            text = "a policy names this host, and without --trust-bundle its TLS cannot be looked into"
            raise Stopped(Problem(Reason.EgressDenied, text))
        host = origin.host.rstrip(".")
        if not self.authority.vouches_for(host):
            text = "a policy names this host, and it is outside of the domains whose TLS may be looked into"
            raise Stopped(Problem(Reason.EgressDenied, f"{text} (--intercept-domains)"))
        return self.authority.context(host)

    def _handshake_failed(self, origin: Origin, error: OSError) -> None:
        self.handshakes_failed += 1
        why = error.reason if isinstance(error, ssl.SSLError) else str(error)
        fields = {"destination": shown(origin), "why": why or type(error).__name__}
        log.warning("the agent's TLS handshake failed; does it trust the bundle?", extra=fields)

    def _inside(self, origin: Origin) -> tuple[Connection, asyncio.Future[None]]:
        """What serves the inside of a tunnel, and its end."""
        made, lost = self._connections(), asyncio.get_running_loop().create_future()
        made.inside, made.lost = origin, lost
        return made, lost

    async def _handshake(
        self, transport: asyncio.Transport, between: "_Between", context: ssl.SSLContext
    ) -> asyncio.Transport:
        """Raises OSError."""
        inner = await asyncio.get_running_loop().start_tls(
            transport,
            between,
            context,
            server_side=True,
            ssl_handshake_timeout=self._limits.handshake_s,
            ssl_shutdown_timeout=_SHUTDOWN_S,
        )
        if inner is None:
            raise ConnectionResetError("the agent hung up")
        return inner

    async def _serve(
        self, outside: Connection, transport: asyncio.Transport, origin: Origin, between: "_Between"
    ) -> None:
        """Until the tunnel is closed."""
        self.opened += 1
        inside, lost = self._inside(origin)
        try:
            if not between.lost:
                transport.set_protocol(inside)
                inside.connection_made(transport)
                if between.data:
                    inside.data_received(bytes(between.data))
                await lost
        finally:
            transport.abort()
            outside.connection_lost(None)


class _Between(asyncio.Protocol):
    """Has the connection from the end of the handshake until it is served: keeps what comes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, _exc: Exception | None) -> None:
        self.lost = True
