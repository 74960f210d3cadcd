"""CONNECT to hosts that no policy names."""

import asyncio
from typing import cast

from toolpolicy_sidecar.attempt import problem_of
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.destination import shown
from toolpolicy_sidecar.egress import Egress
from toolpolicy_sidecar.listeners.http_listener import Asked, Connection
from toolpolicy_sidecar.listeners.tunnel import Tunnel
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import EgressRecord, Recorder
from toolpolicy_sidecar.relay.unnamed import CONNECT_S
from toolpolicy_sidecar.runtime import Limits, Runtime
from toolpolicy_sidecar.upstream.dial import Check, dial
from toolpolicy_sidecar.upstream.failure import UpstreamFailure
from toolpolicy_sidecar.upstream.names import Names
from toolpolicy_sidecar.upstream.origin import Origin

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Tunnels:
    def __init__(self, limits: Limits, clock: Clock, recorder: Recorder, names: Names, check: Check) -> None:
        self._limits, self._clock, self._recorder = limits, clock, recorder
        self._names, self._check = names, check
        self._open: dict[Tunnel, Origin] = {}

    @property
    def open(self) -> int:
        return len(self._open)

    async def join(self, asked: Asked, origin: Origin, egress: Egress) -> None:
        """Until it is closed. Raises Stopped, while the agent can still be told."""
        problem = egress.refusal(origin)
        if problem is None and len(self._open) >= self._limits.tunnels:
            problem = Problem(
                Reason.ConcurrencyLimit, f"{len(self._open)} tunnels are open, and no more may be", 1
            )
        if problem is not None:
            raise Stopped(problem)
        tunnel = Tunnel(self._limits.tunnel_idle_s)
        self._open[tunnel] = origin
        try:
            await self._dial(asked, tunnel, origin)
            await self._joined(asked, tunnel, origin)
        finally:
            del self._open[tunnel]

    def reconsider(self, runtime: Runtime) -> None:
        """A tunnel that the policies of now would not let begin ends."""
        egress = runtime.egress
        for tunnel, origin in list(self._open.items()):
            named = egress.named(origin) or egress.named(Origin("http", origin.host, origin.port))
            if named or egress.refusal(origin):
                tunnel.cut("the policies have changed")

    async def _dial(self, asked: Asked, tunnel: Tunnel, origin: Origin) -> None:
        """Raises Stopped. What the agent sends meanwhile stays with the kernel."""
        cast("asyncio.Transport", asked.request.transport).pause_reading()
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

    async def _joined(self, asked: Asked, tunnel: Tunnel, origin: Origin) -> None:
        connection = cast("Connection", asked.request.protocol)
        transport = asked.reply.hand_over()
        try:
            transport.write(ESTABLISHED)
            tunnel.join(transport, connection.taken())
            await tunnel.closed
        finally:
            if not tunnel.closed.done():
                tunnel.cut("the sidecar is shutting down")
            self._recorder.egress(
                EgressRecord(
                    via="Tunnel",
                    destination=shown(origin),
                    status=200,
                    duration_ms=(self._clock.monotonic() - asked.arrived) * 1000,
                    sent_bytes=tunnel.near.received_bytes,
                    received_bytes=tunnel.far.received_bytes,
                    error=tunnel.error,
                )
            )
            connection.connection_lost(None)
