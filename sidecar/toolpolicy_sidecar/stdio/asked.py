"""A line of the agent, and the answer to it, as the pipeline knows requests and answers."""

from collections.abc import AsyncIterator, Iterable

from toolpolicy_sidecar.call import Incoming
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.stdio.agent_pipes import Output
from toolpolicy_sidecar.upstream.headers import Header


def incoming(line: bytes, session: bytes, clock: Clock) -> Incoming:
    """`session`: one agent is at this pipe, from its beginning to its end."""
    noted = {b"mcp-session-id": session}
    arrived, arrived_ms = clock.monotonic(), clock.unix_ms()
    return Incoming("POST", "", None, (), noted, frozenset(), _Line(line), arrived, arrived_ms)


class LineReply:
    """One line, written when it is whole: until then the agent can still be given another one."""

    def __init__(self, output: Output, clock: Clock) -> None:
        self._output, self._clock = output, clock
        self._pieces: list[bytes] = []
        self.started = False
        self.sent_bytes = 0
        self.waiting = False
        self.waited_s = 0.0

    async def whole(self, status: int, headers: Iterable[Header], body: bytes) -> None:
        del status, headers
        self._pieces = [body]
        await self.finish()

    async def start(self, status: int, reason: bytes, headers: Iterable[Header], length: int | None) -> None:
        del status, reason, headers, length

    async def write(self, piece: bytes) -> None:
        self._pieces.append(piece)

    async def finish(self) -> None:
        line = b"".join(self._pieces)
        self.started, self._pieces = True, []
        self.sent_bytes = len(line)
        began = self._clock.monotonic()
        self.waiting = True
        try:
            await self._output.write(line)
        finally:
            self.waiting = False
            self.waited_s += self._clock.monotonic() - began

    def abort(self) -> None:
        self._pieces.clear()


class _Line:
    """A request body that is there as a whole."""

    def __init__(self, line: bytes) -> None:
        self._line = line
        self.length: int | None = len(line)
        self.problem: Problem | None = None
        self.waiting, self.waited_s = False, 0.0

    async def whole(self, deadline: float | None = None) -> bytes:
        del deadline  # it is here
        return self._line

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._line
