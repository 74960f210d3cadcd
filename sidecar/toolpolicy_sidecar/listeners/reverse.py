"""`http://127.0.0.1:19001/<server>/<rest>` → `<server.url>/<rest>`."""

from functools import lru_cache

from toolpolicy_sidecar import target
from toolpolicy_sidecar.listeners.http_listener import HttpListener
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.runtime import Runtime

REMEMBERED_TARGETS = 512
REMEMBERED_CHARACTERS = 256
"""Agents ask for the same few again and again; targets come from them: no more and no longer ones are kept."""

_remembered = lru_cache(REMEMBERED_TARGETS)(target.read)


def _target(raw: str) -> target.Target | Problem:
    return _remembered(raw) if len(raw) <= REMEMBERED_CHARACTERS else target.read(raw)


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
