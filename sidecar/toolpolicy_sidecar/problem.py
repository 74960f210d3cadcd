"""Why the agent gets our answer instead of the tool's."""

from typing import NamedTuple

from toolpolicy_sidecar.reasons import Reason


class Problem(NamedTuple):
    """`detail` is half a sentence, free of values of the call. `answered`: the tool's own answer, which has been
    classified, is the problem. `code`: of a JSON-RPC error, where the caller
    speaks MCP and the request is no tool call that could be given a result."""

    reason: Reason
    detail: str
    retry_after_s: float | None = None
    allow: tuple[str, ...] = ()
    code: int | None = None
    identifier: bytes = b"null"
    answered: bool = False


class Stopped(Exception):  # noqa: N818 -- names what happened
    """Carries a problem to the one place that answers it. `destination`: where a forward proxy was asked for."""

    def __init__(self, problem: Problem, destination: str | None = None) -> None:
        super().__init__(problem.detail)
        self.problem, self.destination = problem, destination
