"""Takes back calls that ran out of time, from servers of the handshake era: they go on until they are told.
Servers of 2026-07-28 and later see the closed stream."""

import asyncio

from toolpolicy_sidecar.call import McpCall, ToolCall
from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.upstream import failure
from toolpolicy_sidecar.upstream.exchange import BodyTooLarge, Request
from toolpolicy_sidecar.upstream.pool import Pool

WITHIN_S = 2.0
AT_ONCE = 64
_ANSWER_BYTES = 64 * 1024
_KEPT = frozenset({b"mcp-session-id", b"mcp-protocol-version", b"authorization", b"accept"})


class Canceller:
    """Nobody waits for it: what cannot be sent at once, or in time, is dropped."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, call: ToolCall, mcp: McpCall) -> None:
        if len(self._tasks) >= AT_ONCE:
            return
        incoming, server = call.incoming, call.server
        headers = tuple(header for header in incoming.headers if header[0].lower() in _KEPT)
        request = Request(
            server.place.origin,
            "POST",
            server.target(incoming.path, incoming.query),
            (*headers, (b"Content-Type", b"application/json")),
            jsonrpc.cancelled(mcp.identifier, "timed out"),
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
