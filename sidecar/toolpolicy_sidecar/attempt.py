"""One attempt at a tool: sent under its deadline, its answer pulled piece by piece, every failure with its reason."""

import asyncio

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.deadline import Deadline, of_attempt, of_read
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.render import Problem
from toolpolicy_sidecar.tool import ToolState
from toolpolicy_sidecar.upstream import failure
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.pool import Pool


class Failed(Exception):  # noqa: N818 -- names what happened
    """There is no (whole) answer of the tool."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


_REASONS: dict[type[failure.UpstreamFailure], Reason] = {
    failure.NameNotResolved: Reason.NameNotResolved,
    failure.ConnectRefused: Reason.ConnectRefused,
    failure.TlsFailed: Reason.TlsFailed,
    failure.ConnectTimedOut: Reason.ConnectTimeout,
    failure.MalformedAnswer: Reason.MalformedAnswer,
    failure.AnswerHeaderTooLarge: Reason.MalformedAnswer,
}


def problem_of(error: failure.UpstreamFailure) -> Problem:
    if isinstance(error, failure.ConnectionReset):
        reason = Reason.IncompleteAnswer if error.response_started else Reason.ConnectionReset
        return Problem(reason, error.detail)
    return Problem(_REASONS[type(error)], error.detail)


class Attempt:
    """Use: `await head()`, then `await piece()` until b"". Close it in any case."""

    def __init__(self, pool: Pool, request: Request, tool: ToolState, clock: Clock, arrived: float) -> None:
        self._pool, self._request, self._clock = pool, request, clock
        self._timeouts = tool.rules.timeouts
        self.started = clock.monotonic()
        self.deadline = of_attempt(self._timeouts, arrived, self.started)
        self._response: Response | None = None

    async def head(self) -> Response:
        """Raises Failed."""
        connect_s = self._timeouts.connect_ms / 1000
        try:
            async with self._until(self.deadline):
                self._response = await self._pool.exchange(self._request, connect_timeout_s=connect_s)
        except failure.UpstreamFailure as error:
            raise Failed(problem_of(error)) from None
        except failure.UnsendableRequest as error:
            raise Failed(Problem(Reason.MalformedRequest, str(error))) from None
        except TimeoutError:
            raise Failed(Problem(self.deadline.reason, self.deadline.detail)) from None
        return self._response

    async def piece(self) -> bytes:
        """The next piece of the body, b"" at its end. Raises Failed."""
        response = self._response
        if response is None:
            return b""
        deadline = of_read(self.deadline, self._timeouts, self._clock.monotonic())
        try:
            async with self._until(deadline):
                return await response.read()
        except failure.UpstreamFailure as error:
            raise Failed(problem_of(error)) from None
        except TimeoutError:
            raise Failed(Problem(deadline.reason, deadline.detail)) from None

    async def whole(self, limit_bytes: int) -> bytes:
        """Raises Failed, also when the body is over the limit."""
        pieces, size = [], 0
        while piece := await self.piece():
            size += len(piece)
            if size > limit_bytes:
                raise Failed(Problem(Reason.AnswerTooLarge, f"its answer is over {limit_bytes} bytes"))
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Back to the pool when the answer was read to its end, else the connection is closed."""
        if self._response is not None:
            self._response.release()

    def _until(self, deadline: Deadline) -> asyncio.Timeout:
        loop = asyncio.get_running_loop()
        return asyncio.timeout_at(loop.time() + deadline.at - self._clock.monotonic())
