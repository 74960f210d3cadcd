"""A call of a plain HTTP tool that asks for a WebSocket."""

from msgspec.structs import replace

from toolpolicy_sidecar import classify
from toolpolicy_sidecar.call import Reply, ToolCall, Upgrade
from toolpolicy_sidecar.deadline import Watch
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.relay.http import HttpRelay, clean_head
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.headers import Header


class UpgradeRelay(HttpRelay):
    """As any other call, until the server agrees."""

    def __init__(
        self, call: ToolCall, upgrade: Upgrade, reply: Reply, progress: Progress, limit_bytes: int
    ) -> None:
        super().__init__(call, reply, progress, limit_bytes)
        self._upgrade = upgrade

    async def request(self) -> Request:
        """Raises Stopped."""
        if self._upgrade.problem is not None:
            raise Stopped(self._upgrade.problem)
        return replace(await super().request(), switch_to=self._upgrade.far)

    async def carry(self, response: Response, watch: Watch) -> None:
        """Raises Stopped, UpstreamFailure."""
        if response.status != 101:
            await super().carry(response, watch)
            return
        headers = agreed(self._upgrade, response)
        self._upgrade.open(await clean_head(self._call, self._progress, response, headers))
        self._progress.status, self._progress.result = 101, classify.SUCCESS


def agreed(upgrade: Upgrade, response: Response) -> tuple[Header, ...]:
    """The headers of a 101. Raises Stopped."""
    if response.header(b"sec-websocket-accept") != upgrade.accept:
        text = "its Sec-WebSocket-Accept does not answer the agent's key"
        raise Stopped(Problem(Reason.MalformedAnswer, text))
    return response.headers
