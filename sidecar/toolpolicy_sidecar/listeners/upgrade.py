"""An agent that asks for a WebSocket: is that how one asks, and what is open once the server agrees."""

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha1

from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.listeners.tunnel import Tunnel
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.tool import ServerState
from toolpolicy_sidecar.upstream.headers import Header

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")


class AgentUpgrade:
    """Is an Upgrade. What the agent says before the server has agreed is kept back, and is lost if it does not."""

    def __init__(self, asked: Asked, server: ServerState | None, current: Current, idle_s: float) -> None:
        """`server` None: no policy's."""
        self._asked, self._current = asked, current
        self._of = ("", "") if server is None else (server.policy, server.name)
        self.tunnel = Tunnel(idle_s)
        self.far = self.tunnel.far
        keys = [value for name, value in asked.head.headers if name.lower() == b"sec-websocket-key"]
        self.problem = _fault(asked, keys)
        self.accept = b64encode(sha1(b"".join(keys) + _GUID, usedforsecurity=False).digest())
        self.opened = False

    @property
    def sent_bytes(self) -> int:
        """To the server."""
        return self.tunnel.near.received_bytes

    @property
    def received_bytes(self) -> int:
        return self.tunnel.far.received_bytes

    @property
    def error(self) -> str | None:
        """How it ended, unless one side closed it."""
        return self.tunnel.error

    def open(self, headers: Iterable[Header]) -> None:
        """Raises ConnectionError."""
        transport = self._asked.reply.switch(headers)
        self.opened = True
        self._current.in_flight.pushing += 1
        self._current.websockets[self._of] += 1
        self.tunnel.join(transport, self._asked.connection.taken())

    async def closed(self) -> None:
        await self.tunnel.closed()

    def end(self) -> None:
        """At once, if it has not ended. To be called once."""
        if self.opened:
            self._current.in_flight.pushing -= 1
            self._current.websockets[self._of] -= 1
        self.tunnel.cut("the sidecar is shutting down")


def _fault(asked: Asked, keys: list[bytes]) -> Problem | None:
    """RFC 6455, 4.2.1. What has a body, or asks without `Connection: Upgrade`, two servers could read in two ways."""
    if asked.method != "GET" or asked.body.length != 0 or asked.reply.old:
        return Problem(
            Reason.MalformedRequest, "a WebSocket is asked for by GET, in HTTP/1.1, without a body"
        )
    names = {name.strip() for name in asked.head.noted[b"upgrade"].lower().split(b",")}
    if b"websocket" not in names or not asked.connection.hands_over(asked):
        return Problem(
            Reason.MalformedRequest, "its headers Upgrade and Connection do not ask for a WebSocket"
        )
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        return Problem(Reason.MalformedRequest, "there is no Sec-WebSocket-Key of 16 bytes")
    return None
