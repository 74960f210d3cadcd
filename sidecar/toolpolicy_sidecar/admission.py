"""A call's slot, for as long as it is being tried and answered."""

from types import TracebackType

from toolpolicy_sidecar.call import ToolCall
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.resilience.concurrency import Ticket


class Admission:
    """`async with` it: waits for a slot of the tool, at most for the call's total time. Raises Stopped."""

    __slots__ = ("_call", "_progress", "_ticket")

    def __init__(self, call: ToolCall, progress: Progress) -> None:
        self._call, self._progress = call, progress
        self._ticket: Ticket | None = None

    async def __aenter__(self) -> None:
        tool = self._call.tool
        self._ticket = await tool.slots.enter(self._call.incoming.arrived + tool.total_s)
        self._progress.queued_s = self._ticket.queued_s

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticket is not None:
            self._call.tool.slots.leave(self._ticket)
