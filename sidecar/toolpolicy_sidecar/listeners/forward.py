"""A forward proxy for agents that nobody changed: `HTTP_PROXY=http://127.0.0.1:19002`."""

import ipaddress
import socket
import sys
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from toolpolicy_sidecar import destination, target
from toolpolicy_sidecar.call import Incoming
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.destination import Destination, shown
from toolpolicy_sidecar.egress import Egress
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.http_listener import HttpListener
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.listeners.interception import Interception
from toolpolicy_sidecar.listeners.tunnels import Tunnels
from toolpolicy_sidecar.listeners.upgrade import AgentUpgrade
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import Recorder
from toolpolicy_sidecar.relay import unnamed
from toolpolicy_sidecar.runtime import Runtime
from toolpolicy_sidecar.upstream.names import Names, SystemNames
from toolpolicy_sidecar.upstream.origin import Origin
from toolpolicy_sidecar.upstream.pool import Pool
from toolpolicy_sidecar.upstream.tls import Contexts

_UPLOAD_S = 24 * 3600.0
"""For an agent to send its body to a host that no policy names: it is not ours to hurry it."""


class ForwardListener(HttpListener):
    def __init__(
        self,
        current: Current,
        pipeline: Pipeline,
        limits: Limits,
        clock: Clock,
        recorder: Recorder,
        *,
        own_ports: set[int] | None = None,
        names: Names | None = None,
        tls: Contexts | None = None,
    ) -> None:
        """`own_ports`: of the sidecar's other listeners, as soon as they have some. `names`: else the system's."""
        super().__init__(current, pipeline, limits, clock, recorder)
        self.own_ports = set() if own_ports is None else own_ports
        names = names or SystemNames()
        self._pool = Pool(check=self._address_refusal, tls=tls, names=names, in_flight=current.in_flight)
        self.interception = Interception(self._http, limits)
        self.unpoliced = 0
        """Requests and tunnels that began before any policy had come."""
        self.tunnels = Tunnels(limits, clock, recorder, names, self._address_refusal)
        current.on_install += [self.tunnels.reconsider, self.interception.prepare]

    async def start(self, host: str, port: int) -> int:
        bound = await super().start(host, port)
        self.own_ports.add(bound)
        return bound

    async def close(self) -> None:
        await super().close()
        await self._pool.close()

    def in_force(self) -> Runtime:
        """Raises Stopped."""
        return self._current.runtime or self._before_any_policy()

    def _before_any_policy(self) -> Runtime:
        """Passthrough: as if there were a policy that names nothing. Raises Stopped."""
        if self._current.cold_start != "Passthrough":
            return super()._before_any_policy()
        self.unpoliced += 1
        return Runtime("", "cold start", (), 0)

    async def _route(self, asked: Asked, runtime: Runtime) -> None:
        """Raises Stopped."""
        inside = asked.connection.inside
        if asked.method == "CONNECT":
            if inside is not None:
                raise Stopped(Problem(Reason.MalformedRequest, "there is no tunnel inside of a tunnel"))
            await self._connect(asked, runtime)
            return
        if inside is None:
            found = destination.of_absolute_form(asked.target)
        else:
            found = destination.of_origin_form(asked.target, inside, asked.head.noted.get(b"host", b""))
        if isinstance(found, Problem):
            raise Stopped(found)
        await self._go(asked, found, runtime)

    async def _go(self, asked: Asked, where: Destination, runtime: Runtime) -> None:
        """To a server of the policies, to any other host, or nowhere. Raises Stopped."""
        origin, path = where.origin, ""
        if runtime.egress.named(origin):
            known = target.read(where.target)
            if isinstance(known, Problem):  # it could be read as a path below a server's url
                raise Stopped(known)
            path = known.path
            covered = runtime.egress.covering(origin, path)
            if covered is not None:
                server, rest = covered
                incoming = self._incoming(asked, rest, known.query)
                incoming = replace(incoming, headers=_for_server(incoming.headers), addressed=True)
                await self._serve(incoming, server, asked)
                return
        problem = runtime.egress.refusal(origin, method=asked.method, path=path)
        if problem is not None:
            raise Stopped(problem, shown(origin))
        incoming = self._incoming(asked, "", None)
        incoming = replace(incoming, headers=_for_server(incoming.headers))
        asked.body.bound(asked.arrived + _UPLOAD_S, sys.maxsize)
        dialled = where._replace(origin=runtime.egress.dialled(origin))
        try:
            if asked.head.upgrades:
                await self._elsewhere(asked, incoming, dialled, partial(_let, where))
            else:
                await unnamed.relay(incoming, dialled, asked.reply, self._pool, self._clock, self._recorder)
        except Stopped as stopped:
            raise Stopped(stopped.problem, shown(origin)) from None

    async def _elsewhere(
        self, asked: Asked, incoming: Incoming, where: Destination, let: Callable[[Egress], bool]
    ) -> None:
        """A WebSocket to a host that no policy names is a tunnel, once the server agrees. Raises Stopped."""

        async def ask(upgrade: AgentUpgrade) -> None:
            call, before = replace(incoming, upgrade=upgrade), self._current.runtime
            await unnamed.relay(call, where, asked.reply, self._pool, self._clock, self._recorder)
            if upgrade.opened:
                with self.tunnels.watched(upgrade.tunnel, let):
                    if self._current.runtime is not before:
                        self.tunnels.reconsider(self.in_force())
                    await upgrade.closed()

        await self._websocket(asked, where.origin, ask)

    async def _connect(self, asked: Asked, runtime: Runtime) -> None:
        """A tunnel; or what is inside of it goes through the pipeline, if a policy names the host. Raises Stopped."""
        found = destination.of_authority_form(asked.target)
        if isinstance(found, Problem):
            raise Stopped(found)
        if asked.head.framed:
            raise Stopped(Problem(Reason.MalformedRequest, "CONNECT has no body"))
        secure, plain = Origin("https", *found), Origin("http", *found)
        self._current.in_flight.pushing += 1
        try:
            if runtime.egress.named(secure):
                await self.interception.secured(asked, secure)
            elif runtime.egress.named(plain):
                await self.interception.plain(asked, plain)
            else:
                await self.tunnels.join(asked, secure, runtime.egress)
        except Stopped as stopped:
            raise Stopped(stopped.problem, shown(secure)) from None
        finally:
            self._current.in_flight.pushing -= 1

    def _address_refusal(self, origin: Origin, address: str) -> str | None:
        """Why this address must not be dialled: it is ours, or none for agents."""
        if origin.port in self.own_ports and _is_local(address):
            return f"{origin.host}:{origin.port} is this sidecar itself; put it into NO_PROXY"
        runtime = self._current.runtime
        egress = runtime.egress if runtime else Egress((), {})
        return egress.address_refusal(origin, address)


def _for_server(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Without what is for this proxy alone: it may hold credentials."""
    return tuple(header for header in headers if not header[0].lower().startswith(b"proxy-"))


def _let(where: Destination, egress: Egress) -> bool:
    """May a WebSocket to there be open that no server's rules apply to?"""
    if egress.named(where.origin):
        path = target.read(where.target)
        if isinstance(path, Problem) or egress.covering(where.origin, path.path) is not None:
            return False
    return egress.refusal(where.origin) is None


def _is_local(address: str) -> bool:
    """An address of this machine: only such a one can be bound."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if found.is_loopback or found.is_unspecified:
        return True
    family = socket.AF_INET if found.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
