"""A request to a host that no policy names: it passes untouched, for as long as both sides want."""

from collections.abc import AsyncIterator

from toolpolicy_sidecar.attempt import attempt
from toolpolicy_sidecar.call import Incoming, Reply
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.deadline import Watch
from toolpolicy_sidecar.destination import Destination, shown
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.record import EgressRecord, Recorder
from toolpolicy_sidecar.relay.upgrade import agreed
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.pool import Pool

CONNECT_S = 10.0


async def relay(  # noqa: PLR0917 -- the two sides, and what is between them
    incoming: Incoming, destination: Destination, reply: Reply, pool: Pool, clock: Clock, recorder: Recorder
) -> None:
    """Raises Stopped, when nothing was answered yet. A WebSocket that the server agrees to is left open."""
    sent_bytes = status = 0

    async def counted(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        async for piece in pieces:
            sent_bytes += len(piece)
            yield piece

    async def carry(response: Response, _watch: Watch) -> None:
        nonlocal status
        if response.status == 101 and upgrade is not None:
            upgrade.open(agreed(upgrade, response))
            return
        status = response.status
        await reply.start(status, response.reason, response.headers, response.length)
        while piece := await response.read():
            await reply.write(piece)
        await reply.finish()

    origin, target = destination
    upgrade = incoming.upgrade
    if upgrade is not None and upgrade.problem is not None:
        raise Stopped(upgrade.problem)
    body = None if incoming.body.length == 0 else counted(incoming.body.pieces())
    request = Request(
        origin,
        incoming.method,
        target,
        incoming.headers,
        body,
        switch_to=None if upgrade is None else upgrade.far,
        length=incoming.body.length,
    )
    problem: Problem | None = None
    try:
        watch = Watch(clock, None, None)
        problem = await attempt(pool, request, connect_s=CONNECT_S, watch=watch, carry=carry)
        problem = problem and (incoming.body.problem or problem)
    finally:
        if status:
            recorder.egress(
                EgressRecord(
                    via="Request",
                    destination=shown(origin),
                    status=status,
                    duration_ms=(clock.monotonic() - incoming.arrived) * 1000,
                    sent_bytes=sent_bytes,
                    received_bytes=reply.sent_bytes,
                    error=problem and problem.detail,
                )
            )
    if problem is not None:
        if reply.started:
            reply.abort()
        else:
            raise Stopped(problem)
