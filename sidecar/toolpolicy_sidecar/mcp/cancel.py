"""Takes back calls that ran out of time, or that another attempt was made for, from servers of the handshake era: they
go on until they are told. Servers of 2026-07-28 and later see the closed stream. What the agent takes back itself goes
on to the attempt that is under way, to both of a race; a call that still waits is not made."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from toolpolicy_sidecar.call import Incoming, McpCall, Passing, ToolCall
from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
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
        self._sent_as: dict[tuple[str, bytes], dict[bytes, tuple[bytes, ...]]] = {}
        self._waiting: dict[tuple[str, bytes, bytes], asyncio.Timeout] = {}

    def rename(self, call: ToolCall, identifier: bytes, *sent_as: bytes) -> None:
        """The agent knows the call as `identifier`, its server now as `sent_as`: one id for each attempt that is under
        way. Without a session there is nothing to redirect: another agent may use the same id, and the server cannot
        tell whose call is taken back."""
        session = _session(call.server, call.incoming)
        if session[1]:
            self._sent_as.setdefault(session, {})[identifier] = sent_as

    def forget(self, call: ToolCall, identifier: bytes) -> None:
        session = _session(call.server, call.incoming)
        renamed = self._sent_as.get(session, {})
        renamed.pop(identifier, None)
        if not renamed:
            self._sent_as.pop(session, None)

    @asynccontextmanager
    async def waiting(self, call: ToolCall) -> AsyncIterator[None]:
        """For a call that waits for its turn. Raises Stopped when the agent takes it back meanwhile."""
        session = _session(call.server, call.incoming)
        if call.mcp is None or not session[1]:
            yield
            return
        known = (*session, jsonrpc.plain(call.mcp.identifier))
        try:
            async with asyncio.timeout(None) as patience:
                self._waiting[known] = patience
                yield
        except TimeoutError:
            raise Stopped(Problem(Reason.ClientGone, "the agent has taken it back")) from None
        finally:
            self._waiting.pop(known, None)

    def heard(self, passing: Passing) -> Passing:
        """A cancellation ends a call that waits, and names the id that its server knows; anything else is as it was."""
        if passing.body is None or not (self._sent_as or self._waiting):
            return passing
        identifier = jsonrpc.taken_back(passing.body)
        if identifier is None:
            return passing
        session = _session(passing.server, passing.incoming)
        patience = self._waiting.pop((*session, identifier), None)
        if patience is not None:
            patience.reschedule(0)
        known = self._sent_as.get(session, {})
        now = next((ids for was, ids in known.items() if jsonrpc.plain(was) == identifier), None)
        if now is None:
            return passing
        for other in now[1:]:
            self._post(passing.server, passing.incoming, jsonrpc.redirected(passing.body, other))
        return replace(passing, body=jsonrpc.redirected(passing.body, now[0]))

    def send(self, call: ToolCall, mcp: McpCall, why: str) -> None:
        self._post(call.server, call.incoming, jsonrpc.cancelled(mcp.identifier, why))

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _post(self, server: ServerState, incoming: Incoming, message: bytes) -> None:
        if len(self._tasks) >= AT_ONCE:
            return
        headers = tuple(header for header in incoming.headers if header[0].lower() in _KEPT)
        request = Request(
            server.place.origin,
            "POST",
            server.target(incoming.path, incoming.query),
            (*headers, (b"Content-Type", b"application/json")),
            message,
        )
        task = asyncio.ensure_future(self._send(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
