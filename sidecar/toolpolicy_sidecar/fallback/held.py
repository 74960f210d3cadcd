"""The agent's side of a call that the sidecar itself makes: what would be sent is held, within a limit."""

from collections.abc import AsyncIterator, Iterable

from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.upstream.headers import Header

HELD_BYTES = 1024 * 1024


class HeldReply:
    """`whole_body` None: there is none, or it was cut."""

    def __init__(self) -> None:
        self.started = False
        self.sent_bytes = 0
        self.waiting = False
        self.waited_s = 0.0
        self.status = 0
        self.headers: tuple[Header, ...] = ()
        self.whole_body: bytes | None = None
        self._pieces: list[bytes] = []

    async def whole(self, status: int, headers: Iterable[Header], body: bytes) -> None:
        await self.start(status, b"", headers, len(body))
        await self.write(body)
        await self.finish()

    async def start(self, status: int, reason: bytes, headers: Iterable[Header], length: int | None) -> None:  # noqa: ARG002 -- the signature of a reply
        self.started = True
        self.status, self.headers = status, tuple(headers)

    async def write(self, piece: bytes) -> None:
        """Raises Stopped over the limit."""
        self.sent_bytes += len(piece)
        if self.sent_bytes > HELD_BYTES:
            raise Stopped(Problem(Reason.AnswerTooLarge, f"it is over {HELD_BYTES} bytes"))
        self._pieces.append(piece)

    async def finish(self) -> None:
        self.whole_body = b"".join(self._pieces)

    def abort(self) -> None:
        self._pieces.clear()


class ReadBody:
    """A request body that is there already."""

    def __init__(self, body: bytes) -> None:
        self.length: int | None = len(body)
        self.problem: Problem | None = None
        self.waiting = False
        self.waited_s = 0.0
        self._body = body

    async def whole(self, deadline: float | None = None) -> bytes:  # noqa: ARG002 -- the signature of a body
        return self._body

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._body
