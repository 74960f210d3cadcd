"""A call's slots, for as long as it is being tried and answered."""

from types import TracebackType

from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.resilience.adaptive import Sample
from toolpolicy_sidecar.resilience.breaker import Outcome
from toolpolicy_sidecar.resilience.concurrency import Ticket
from toolpolicy_sidecar.slots import Slots

_OUT_OF_TIME = {Reason.ConnectTimeout, Reason.AttemptTimeout, Reason.TotalTimeout, Reason.IdleTimeout}


class Admission:
    """`async with` it: waits for a slot of the tool, then for one of its server, until `deadline` (monotonic seconds)
    at most. Raises Stopped.

    Always in this order: who holds a slot of a server waits for nothing more, so no two calls wait for each other;
    and what all tools share is not held by a call that still waits for its own."""

    __slots__ = ("_deadline", "_held", "_progress", "_wanted")

    def __init__(self, tool: Slots, server: Slots, deadline: float, progress: Progress) -> None:
        self._wanted, self._deadline, self._progress = (tool, server), deadline, progress
        self._held: list[tuple[Slots, Ticket]] = []

    async def __aenter__(self) -> None:
        try:
            for slots in self._wanted:
                ticket = await slots.enter(self._deadline)
                self._held.append((slots, ticket))
                self._progress.queued_s += ticket.began - ticket.entered
        except BaseException:
            self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(sample_of(self._progress))

    def _leave(self, sample: Sample | None = None) -> None:
        for slots, ticket in self._held:
            slots.leave(ticket, sample)


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
