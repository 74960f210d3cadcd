"""A call's slots, for as long as it is being tried and answered."""

import msgspec

from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.resilience.adaptive import Sample
from toolpolicy_sidecar.resilience.breaker import Outcome
from toolpolicy_sidecar.resilience.concurrency import Ticket
from toolpolicy_sidecar.slots import Slots

_OUT_OF_TIME = {Reason.ConnectTimeout, Reason.AttemptTimeout, Reason.TotalTimeout, Reason.IdleTimeout}


class Admission(msgspec.Struct, eq=False):
    """A slot of the tool, then one of its server. `enter`, `wait` if it says so, and `leave` whatever happens.

    Always in this order: who holds a slot of a server waits for nothing more, so no two calls wait for each other;
    and what all tools share is not held by a call that still waits for its own."""

    _tool: Slots
    _server: Slots
    _deadline: float
    """How long it may wait (monotonic seconds)."""
    _progress: Progress
    _of_tool: Ticket | None = None
    _of_server: Ticket | None = None

    def enter(self, now: float) -> bool:
        """True: it holds both. False: it has to wait. Raises Stopped, as Slots do."""
        self._of_tool = self._tool.enter(now, self._deadline)
        if self._of_tool.waits:
            return False
        self._of_server = self._server.enter(now, self._deadline)
        return not self._of_server.waits

    async def wait(self) -> None:
        """Until it holds both. Raises Stopped."""
        of_tool, of_server = self._of_tool, self._of_server
        if of_tool is not None and of_tool.waits:
            await self._waited(self._tool, of_tool)
            of_server = self._of_server = self._server.enter(of_tool.began, self._deadline)
        if of_server is not None and of_server.waits:
            await self._waited(self._server, of_server)

    def leave(self) -> None:
        sample = sample_of(self._progress) if self._tool.learns or self._server.learns else None
        if self._of_tool is not None:
            self._tool.leave(self._of_tool, sample)
        if self._of_server is not None:
            self._server.leave(self._of_server, sample)

    async def _waited(self, slots: Slots, ticket: Ticket) -> None:
        await slots.turn(ticket)
        self._progress.queued_s += ticket.began - ticket.entered


def sample_of(progress: Progress) -> Sample | None:
    """What a call says about how full its tool is. A failure says nothing: broken is not busy; nor do retries,
    whose time is not the tool's alone, nor an agent that was slow itself."""
    if not progress.attempts or progress.upstream_s is None:
        return None
    result = progress.result
    if result.outcome == "success" and progress.attempts == 1:
        return Sample(progress.upstream_s)
    timed_out = result.reason in _OUT_OF_TIME and result.breaker is Outcome.FAILURE
    if timed_out or result.reason is Reason.Throttled:
        return Sample(progress.upstream_s, dropped=True)
    return None
