"""`http://127.0.0.1:19001/<server>/<rest>` → `<server.url>/<rest>`."""

from toolpolicy_sidecar import target
from toolpolicy_sidecar.listeners.http_listener import HttpListener
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.remembered import remembered
from toolpolicy_sidecar.runtime import Runtime

_target = remembered(target.read)


class ReverseListener(HttpListener):
    async def _route(self, asked: Asked, runtime: Runtime) -> None:
        """Raises Stopped."""
        found = _target(asked.target)
        if isinstance(found, Problem):
            raise Stopped(found)
        name, slash, rest = found.path[1:].partition("/")
        server = runtime.servers.get(name)
        if server is None:
            known = ", ".join(sorted(runtime.servers)) or "none"
            text = f"no policy of this pod has a server {name[:64]!r}; known: {known}"
            raise Stopped(Problem(Reason.UnknownServer, text))
        if server.place.origin.piped:
            text = (
                f"server {name!r} has no address; the agent starts it with"
                f" `toolpolicy stdio --server {name} -- COMMAND`"
            )
            raise Stopped(Problem(Reason.UnknownServer, text))
        await self._serve(self._incoming(asked, f"/{rest}" if slash else "", found.query), server, asked)
