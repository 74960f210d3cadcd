"""One attempt at a tool: sent under its deadline, its answer handed to whoever carries it to the agent."""

from collections.abc import Awaitable, Callable

from toolpolicy_sidecar.deadline import Watch
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.upstream import failure
from toolpolicy_sidecar.upstream.exchange import Request, Response, Upstream

Carry = Callable[[Response, Watch], Awaitable[None]]

_REASONS: dict[type[failure.UpstreamFailure], Reason] = {
    failure.NameNotResolved: Reason.NameNotResolved,
    failure.ConnectRefused: Reason.ConnectRefused,
    failure.TlsFailed: Reason.TlsFailed,
    failure.ConnectTimedOut: Reason.ConnectTimeout,
    failure.AddressRefused: Reason.EgressDenied,
    failure.MalformedAnswer: Reason.MalformedAnswer,
    failure.AnswerHeaderTooLarge: Reason.MalformedAnswer,
}


def problem_of(error: failure.UpstreamFailure) -> Problem:
    if isinstance(error, failure.ConnectionReset) and error.sent:
        reason = Reason.IncompleteAnswer if error.response_started else Reason.ConnectionReset
        return Problem(reason, error.detail)
    return Problem(_REASONS.get(type(error), Reason.ConnectRefused), error.detail)


async def attempt(
    pool: Upstream, request: Request, *, connect_s: float, watch: Watch, carry: Carry
) -> Problem | None:
    """None: the answer was carried to its end. The connection goes back to the pool only then."""
    try:
        with watch:
            response = await pool.exchange(request, connect_timeout_s=connect_s, connected=watch.connected)
            try:
                await carry(response, watch)
            except BaseException:
                response.abort()
                raise
            response.release()
    except TimeoutError:
        return watch.problem
    except Stopped as stopped:
        return stopped.problem
    except failure.UpstreamFailure as error:
        return problem_of(error)
    except failure.UnsendableRequest as error:
        return Problem(Reason.MalformedRequest, str(error))
    return None
