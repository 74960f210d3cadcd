"""`http://127.0.0.1:19001/<server>/<rest>` → `<server.url>/<rest>`."""

from collections.abc import Awaitable
from typing import NamedTuple

from toolpolicy_sidecar import target
from toolpolicy_sidecar.listeners.http_listener import HttpListener
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.remembered import remembered
from toolpolicy_sidecar.runtime import Runtime


class _Place(NamedTuple):
    """`rest`: the path below the server's; `query` None: no `?`."""

    server: str
    rest: str
    query: str | None


@remembered
def _place(text: str) -> _Place | Problem:
    """Of a request's target."""
    found = target.read(text)
    if isinstance(found, Problem):
        return found
    name, slash, rest = found.path[1:].partition("/")
    return _Place(name, f"/{rest}" if slash else "", found.query)


class ReverseListener(HttpListener):
    def _route(self, asked: Asked, runtime: Runtime) -> Awaitable[None]:
        """Raises Stopped, at once or when it is awaited."""
        place = _place(asked.target)
        if isinstance(place, Problem):
            raise Stopped(place)
        name = place.server
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
        return self._serve(self._incoming(asked, place.rest, place.query), server, asked)
