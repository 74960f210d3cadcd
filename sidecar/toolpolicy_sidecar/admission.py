"""A call's slots, for as long as it is being tried and answered."""

from types import TracebackType

from toolpolicy_sidecar.call import ToolCall
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.resilience.concurrency import Ticket
from toolpolicy_sidecar.slots import Slots


class Admission:
    """`async with` it: waits for a slot of the tool, then for one of its server, at most for the call's total time.
    Raises Stopped.

    Always in this order: who holds a slot of a server waits for nothing more, so no two calls wait for each other;
    and what all tools share is not held by a call that still waits for its own."""

    __slots__ = ("_call", "_held", "_progress")

    def __init__(self, call: ToolCall, progress: Progress) -> None:
        self._call, self._progress = call, progress
        self._held: list[tuple[Slots, Ticket]] = []

    async def __aenter__(self) -> None:
        call = self._call
        deadline = call.incoming.arrived + call.tool.total_s
        try:
            for slots in (call.tool.slots, call.server.slots):
                ticket = await slots.enter(deadline)
                self._held.append((slots, ticket))
                self._progress.queued_s += ticket.queued_s
        except BaseException:
            self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        for slots, ticket in self._held:
            slots.leave(ticket)
