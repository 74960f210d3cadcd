"""Takes back calls that ran out of time, or that another attempt was made for, from servers of the handshake era: they
go on until they are told. Servers of 2026-07-28 and later see the closed stream. What the agent takes back itself goes
on to the attempt that is under way; of two in a race, to the first."""

import asyncio

from msgspec.structs import replace

from toolpolicy_sidecar.call import Incoming, McpCall, Passing, ToolCall
from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.tool import ServerState
from toolpolicy_sidecar.upstream import failure
from toolpolicy_sidecar.upstream.exchange import BodyTooLarge, Request, Upstream

WITHIN_S = 2.0
AT_ONCE = 64
_ANSWER_BYTES = 64 * 1024
_KEPT = frozenset({b"mcp-session-id", b"mcp-protocol-version", b"authorization", b"accept"})


class Canceller:
    """Nobody waits for it: what cannot be sent at once, or in time, is dropped."""

    def __init__(self, pool: Upstream) -> None:
        self._pool = pool
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent_as: dict[tuple[str, bytes], dict[bytes, bytes]] = {}

    def rename(self, call: ToolCall, identifier: bytes, sent_as: bytes) -> None:
        """The agent knows the call as `identifier`, its server now as `sent_as`. Without a session there is nothing
        to redirect: another agent may use the same id, and the server cannot tell whose call is taken back."""
        session = _session(call.server, call.incoming)
        if session[1]:
            self._sent_as.setdefault(session, {})[identifier] = sent_as

    def forget(self, call: ToolCall, identifier: bytes) -> None:
        session = _session(call.server, call.incoming)
        renamed = self._sent_as.get(session, {})
        renamed.pop(identifier, None)
        if not renamed:
            self._sent_as.pop(session, None)

    def redirected(self, passing: Passing) -> Passing:
        """A cancellation of a renamed call names the id that its server knows; anything else is as it was."""
        if not self._sent_as or passing.body is None:
            return passing
        renamed = self._sent_as.get(_session(passing.server, passing.incoming))
        return replace(passing, body=jsonrpc.redirected(passing.body, renamed)) if renamed else passing

    def send(self, call: ToolCall, mcp: McpCall, why: str) -> None:
        if len(self._tasks) >= AT_ONCE:
            return
        incoming, server = call.incoming, call.server
        headers = tuple(header for header in incoming.headers if header[0].lower() in _KEPT)
        request = Request(
            server.place.origin,
            "POST",
            server.target(incoming.path, incoming.query),
            (*headers, (b"Content-Type", b"application/json")),
            jsonrpc.cancelled(mcp.identifier, why),
        )
        task = asyncio.ensure_future(self._send(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, request: Request) -> None:
        try:
            async with asyncio.timeout(WITHIN_S):
                response = await self._pool.exchange(request, connect_timeout_s=WITHIN_S)
                try:
                    await response.body(_ANSWER_BYTES)
                finally:
                    response.release()
        except (failure.UpstreamFailure, failure.UnsendableRequest, BodyTooLarge, TimeoutError):
            return


def _session(server: ServerState, incoming: Incoming) -> tuple[str, bytes]:
    """Within it an agent uses an id once."""
    return server.name, incoming.noted.get(b"mcp-session-id", b"")
