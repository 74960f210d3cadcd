"""`http://127.0.0.1:19001/<server>/<rest>` → `<server.url>/<rest>`."""

from toolpolicy_sidecar import target
from toolpolicy_sidecar.listeners.http_listener import Asked, HttpListener
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.runtime import Runtime


class ReverseListener(HttpListener):
    async def _route(self, asked: Asked, runtime: Runtime) -> None:
        """Raises Stopped."""
        found = target.read(asked.request.raw_path)
        if isinstance(found, Problem):
            raise Stopped(found)
        name, slash, rest = found.path[1:].partition("/")
        server = runtime.servers.get(name)
        if server is None:
            known = ", ".join(sorted(runtime.servers)) or "none"
            text = f"no policy of this pod has a server {name[:64]!r}; known: {known}"
            raise Stopped(Problem(Reason.UnknownServer, text))
        await self._serve(
            self._incoming(asked, f"/{rest}" if slash else "", found.query), server, asked.reply
        )
