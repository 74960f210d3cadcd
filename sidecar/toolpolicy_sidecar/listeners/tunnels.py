"""CONNECT to hosts that no policy names."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from toolpolicy_sidecar.attempt import problem_of
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.destination import shown
from toolpolicy_sidecar.egress import Egress
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.listeners.tunnel import Tunnel
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import EgressRecord, Recorder
from toolpolicy_sidecar.relay.unnamed import CONNECT_S
from toolpolicy_sidecar.runtime import Runtime
from toolpolicy_sidecar.upstream.dial import Check, dial
from toolpolicy_sidecar.upstream.failure import UpstreamFailure
from toolpolicy_sidecar.upstream.names import Names
from toolpolicy_sidecar.upstream.origin import Origin

_CHANGED = "the policies have changed"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Tunnels:
    def __init__(self, limits: Limits, clock: Clock, recorder: Recorder, names: Names, check: Check) -> None:
        self._limits, self._clock, self._recorder = limits, clock, recorder
        self._names, self._check = names, check
        self._open: dict[Tunnel, Origin] = {}
        self._watched: dict[Tunnel, Callable[[Egress], bool]] = {}
        self._redirected: dict[Tunnel, frozenset[str]] = {}
        """Hosts that the policies named at its port when it began."""

    @property
    def open(self) -> int:
        return len(self._open)

    async def join(self, asked: Asked, origin: Origin, egress: Egress) -> None:
        """Until it is closed. Raises Stopped, while the agent can still be told."""
        tunnel = self._begun(origin, egress)
        connection = asked.connection
        try:
            await self._dial(tunnel, origin)
            transport = asked.reply.hand_over()
            transport.write(ESTABLISHED)
            try:
                await self._joined(tunnel, origin, transport, connection.taken(), asked.arrived)
            finally:
                connection.connection_lost(None)
        finally:
            del self._open[tunnel]

    async def carry(self, accepted: socket.socket, origin: Origin, egress: Egress) -> None:
        """A connection that the kernel has redirected here, to an address. Until it is closed.
        Raises Stopped, OSError."""
        arrived = self._clock.monotonic()
        tunnel = self._begun(origin, egress)
        self._redirected[tunnel] = egress.hosts_at(origin.port)
        try:
            await self._dial(tunnel, origin)
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(_Paused, accepted)
            await self._joined(tunnel, origin, transport, b"", arrived)
        finally:
            del self._open[tunnel], self._redirected[tunnel]

    def _begun(self, origin: Origin, egress: Egress) -> Tunnel:
        """Raises Stopped."""
        problem = egress.refusal(origin)
        if problem is None and len(self._open) >= self._limits.tunnels:
            problem = Problem(
                Reason.ConcurrencyLimit, f"{len(self._open)} tunnels are open, and no more may be", 1
            )
        if problem is not None:
            raise Stopped(problem)
        tunnel = Tunnel(self._limits.tunnel_idle_s)
        self._open[tunnel] = origin
        return tunnel

    @contextmanager
    def watched(self, tunnel: Tunnel, let: Callable[[Egress], bool]) -> Iterator[None]:
        """One that came to be in another way ends as well, as soon as it would not be `let` begin."""
        self._watched[tunnel] = let
        try:
            yield
        finally:
            del self._watched[tunnel]

    def reconsider(self, runtime: Runtime) -> None:
        """A tunnel that the policies of now would not let begin ends."""
        egress = runtime.egress
        for tunnel, origin in list(self._open.items()):
            named = egress.named(origin) or egress.named(Origin("http", origin.host, origin.port))
            # By its address nobody knows whether it leads to a server that was named since.
            moved = self._redirected.get(tunnel, egress.hosts_at(origin.port)) != egress.hosts_at(origin.port)
            if named or moved or egress.refusal(origin):
                tunnel.cut(_CHANGED)
        for tunnel, let in list(self._watched.items()):
            if not let(egress):
                tunnel.cut(_CHANGED)

    async def _dial(self, tunnel: Tunnel, origin: Origin) -> None:
        """Raises Stopped."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await dial(origin, lambda: tunnel.far, self._names, tls=None, check=self._check)
        except TimeoutError:
            problem = Problem(Reason.ConnectTimeout, f"not connected within {CONNECT_S:.0f} s")
        except UpstreamFailure as error:
            problem = problem_of(error)
        else:
            return
        raise Stopped(problem)

    async def _joined(
        self, tunnel: Tunnel, origin: Origin, transport: asyncio.Transport, early: bytes, arrived: float
    ) -> None:
        """`arrived`: in seconds, when the agent asked for it."""
        try:
            tunnel.join(transport, early)
            await tunnel.closed()
        finally:
            tunnel.cut("the sidecar is shutting down")
            self._recorder.egress(
                EgressRecord(
                    via="Tunnel",
                    destination=shown(origin),
                    status=200,
                    duration_ms=(self._clock.monotonic() - arrived) * 1000,
                    sent_bytes=tunnel.near.received_bytes,
                    received_bytes=tunnel.far.received_bytes,
                    error=tunnel.error,
                )
            )


class _Paused(asyncio.Protocol):
    """Has a connection until it is joined."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).pause_reading()
