"""A forward listener beside the reverse one of a World, and a second server that no policy names."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.unit.datapath.loopback import Agent, Tool, World, world
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.interception.authority import Authority
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.forward import ForwardListener
from toolpolicy_sidecar.upstream.names import Names

WORLD_CA = Authority(SystemClock())
"""Plays the authority that signs the certificates of servers."""
SIDECAR_CA = Authority(SystemClock())


def trusting(*certificates: bytes) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=b"\n".join(certificates).decode())


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str | None:
    """The TLS version. Raises ssl.SSLCertVerificationError."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    accepted = server.wrap_bio(there, back, server_side=True)
    made = client.wrap_bio(back, there, server_hostname=host)
    for side in (made, accepted, made, accepted):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return made.version()


@dataclass
class Proxied:
    """`w.tool` is where the policy's servers are; `other` is not."""

    w: World
    port: int
    forward: ForwardListener
    other: Tool

    @property
    def kb(self) -> str:
        return f"http://127.0.0.1:{self.w.tool.port}/mcp"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.w.tool.port}/base"

    @property
    def elsewhere(self) -> str:
        return f"http://127.0.0.1:{self.other.port}"

    async def agent(self) -> Agent:
        agent = await Agent.connect(self.port)
        self.w.agents.append(agent)
        return agent

    def refusals(self) -> Iterable[str]:
        return [refusal.reason.value for refusal in self.w.recorded.refusals]


@asynccontextmanager
async def proxied(limits: Limits | None = None, names: Names | None = None) -> AsyncIterator[Proxied]:
    limits = limits or Limits()
    other = Tool()
    await other.start()
    async with world(limits) as w:
        forward = ForwardListener(
            w.current,
            w.pipeline,
            limits,
            SystemClock(),
            w.recorded,
            own_ports={w.port},
            names=names,
        )
        port = await forward.start("127.0.0.1", 0)
        try:
            yield Proxied(w, port, forward, other)
        finally:
            for agent in w.agents:
                agent.close()
            await forward.close()
            await other.stop()
