"""The connections of a listener: taken, and known while they are open."""

import asyncio
import socket
from typing import Protocol

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.heads import Heads
from toolpolicy_sidecar.in_flight import InFlight
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.http_connection import Connection
from toolpolicy_sidecar.listeners.http_head import Head
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.problem import Problem

BACKLOG = 1024


class Answering(Protocol):
    """Who answers what comes on it."""

    async def handle(self, asked: Asked) -> None:
        """Answers by `asked.reply`; raises nothing but CancelledError, when the agent hangs up."""
        ...

    def unheard(self, problem: Problem) -> bytes:
        """The whole answer to what did not become a request."""
        ...


class Connections:
    """Takes connections, and knows those that are open."""

    def __init__(
        self, listener: Answering, limits: Limits, clock: Clock, in_flight: InFlight | None = None
    ) -> None:
        self.listener, self.limits, self.clock = listener, limits, clock
        self.in_flight = in_flight or InFlight()
        self.open: set[Connection] = set()
        self.heads: Heads[Head] = Heads()
        self._server: asyncio.Server | None = None

    def __call__(self) -> Connection:
        return Connection(self)

    async def listen(self, host: str, port: int) -> int:
        """Returns the port. Raises OSError."""
        self._server = await asyncio.get_running_loop().create_server(
            self, host, port, backlog=BACKLOG, family=socket.AF_UNSPEC
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def take_no_more(self) -> None:
        """Those that are open go on."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """At once: what is being answered is cut."""
        self.take_no_more()
        await asyncio.gather(*(connection.cut() for connection in list(self.open)))
