"""Connections that the kernel has redirected here: agents that look at no HTTP_PROXY (docs/transparent.md)."""

import asyncio
import logging
import socket
import struct
from collections.abc import Coroutine
from typing import NamedTuple

from toolpolicy_sidecar import render
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.destination import authority, shown
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.forward import ForwardListener
from toolpolicy_sidecar.listeners.original import Address, original
from toolpolicy_sidecar.listeners.sniff import Sniffed, sniff
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import Recorder, RefusedRequest
from toolpolicy_sidecar.runtime import Runtime
from toolpolicy_sidecar.upstream.origin import Origin

log = logging.getLogger("toolpolicy")

BACKLOG = 1024
_POLL_S = 0.01
_RESET = struct.pack("ii", 1, 0)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Accepted(NamedTuple):
    socket: socket.socket
    going: Address
    arrived: float


class TransparentListener:
    """Finds out what a connection is, and hands it to those who serve the same of the forward proxy."""

    def __init__(
        self, current: Current, forward: ForwardListener, limits: Limits, clock: Clock, recorder: Recorder
    ) -> None:
        self._current, self._forward = current, forward
        self._limits, self._clock, self._recorder = limits, clock, recorder
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, port: int) -> int:
        """Listens where redirected connections of this pod come in: on the loopback addresses of IPv4 and, where there
        is one, of IPv6. Returns the port. Raises OSError."""
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
            except OSError:
                if not self._sockets:
                    raise
                log.info("no IPv6 here, so none is redirected")
                continue
            listening.setblocking(False)  # noqa: FBT003 -- the name says it
            port = listening.getsockname()[1]
            self._sockets.append(listening)
            self._spawn(self._accept(listening))
        self._forward.own_ports.add(port)
        return port

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listening in self._sockets:
            listening.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:  # out of file descriptors, most likely: the next may come through
                log.warning("a connection was not accepted", extra={"why": str(error)})
                await asyncio.sleep(_POLL_S)
                continue
            connection.setblocking(False)  # noqa: FBT003 -- the name says it
            self._spawn(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        going = original(connection)
        if going is None:
            log.warning("a connection to the transparent port was not redirected here, so it leads nowhere")
            _reset(connection)
            return
        self._current.in_flight.requests += 1
        self._current.in_flight.pushing += 1
        try:
            await self._route(_Accepted(connection, going, self._clock.monotonic()))
        except Stopped as stopped:
            status = render.of_request(stopped.problem).status
            self._recorder.refused(
                RefusedRequest(
                    reason=stopped.problem.reason,
                    status=status,
                    error=stopped.problem.detail,
                    destination=shown(Origin("https", *going)),
                )
            )
            _reset(connection)
        except OSError:
            _reset(connection)
        except Exception:
            log.exception("a connection failed in the sidecar itself")
            _reset(connection)
        finally:
            self._current.in_flight.requests -= 1
            self._current.in_flight.pushing -= 1

    async def _route(self, accepted: _Accepted) -> None:
        """Raises Stopped, OSError."""
        runtime = self._forward.in_force()
        going = accepted.going
        if runtime.egress.hosts_at(going.port):
            found = await self._sniffed(accepted)
            if await self._served(accepted, found, runtime):
                return
            await self._refuse_servers_in_disguise(accepted.going, runtime)
        await self._forward.tunnels.carry(accepted.socket, Origin("https", *going), runtime.egress)

    async def _served(self, accepted: _Accepted, found: Sniffed, runtime: Runtime) -> bool:
        """False: no policy names what it asks for. Raises Stopped, OSError."""
        scheme = {"Tls": "https", "Http": "http", "Other": ""}[found.kind]
        where = authority(found.host, accepted.going.port if scheme == "https" else _DEFAULT_PORTS["http"])
        if not scheme or where is None:
            return False
        origin = Origin(scheme, where[0], accepted.going.port)
        if where[1] != accepted.going.port or not runtime.egress.named(origin):
            return False
        await self._forward.interception.redirected(accepted.socket, origin)
        return True

    async def _sniffed(self, accepted: _Accepted) -> Sniffed:
        """By a look at what is still with the kernel, so that nothing has to be put back. A server of a policy is at
        this port: who says nothing there is not let pass unseen. Raises Stopped, OSError."""
        known_bytes = 0
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                while known_bytes < self._limits.header_bytes:
                    data = await _peek(accepted.socket, self._limits.header_bytes)
                    found = sniff(data) if len(data) > known_bytes else None
                    if found is not None:
                        return found
                    known_bytes = len(data)
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            pass
        text = "a policy has a server at this port, and the connection does not say where it goes"
        raise Stopped(Problem(Reason.MalformedRequest, text))

    async def _refuse_servers_in_disguise(self, going: Address, runtime: Runtime) -> None:
        """The address of a policy's server, and a name that is none of its: else a call would pass the policy by.
        Raises Stopped."""
        loop = asyncio.get_running_loop()
        for host in runtime.egress.hosts_at(going.port):
            try:
                found = await loop.getaddrinfo(host, going.port, type=socket.SOCK_STREAM)
            except socket.gaierror:
                continue
            if going.host in {str(entry[4][0]) for entry in found}:
                text = (
                    f"{shown(Origin('https', *going))} is the address of {host}, which a policy names;"
                    " the connection must ask for that name (SNI or Host)"
                )
                raise Stopped(Problem(Reason.EgressDenied, text))


async def _peek(connection: socket.socket, most: int) -> bytes:
    """What has come so far, once there is something. Raises OSError, also at the end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def has_come() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, has_come)
    try:
        await ready
    finally:
        loop.remove_reader(connection)
    data = connection.recv(most, socket.MSG_PEEK)
    if not data:
        raise ConnectionResetError("the agent hung up")
    return data


def _reset(connection: socket.socket) -> None:
    """At once: the agent is told by TCP, since nobody knows what it speaks."""
    if connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.close()
