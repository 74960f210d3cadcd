"""The agents: when they call, and what a call of a tool looks like. They neither hang up nor try again."""

import random
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import NamedTuple

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_sidecar.call import NOTED, Incoming, Passing, ToolCall
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.mcp.jsonrpc import MODERN
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.recognise import http, mcp
from toolpolicy_sidecar.runtime import Runtime
from toolpolicy_sidecar.simulate.scenario import BadScenario, Load
from toolpolicy_sidecar.tool import path_segments
from toolpolicy_sidecar.upstream.headers import Header

_NOBODY = "simulated-unlisted"
_MCP_HEADERS: tuple[Header, ...] = (
    (b"Host", b"127.0.0.1"),
    (b"Accept", b"application/json, text/event-stream"),
    (b"Content-Type", b"application/json"),
    (b"Mcp-Protocol-Version", MODERN.encode()),
)
_HTTP_HEADERS: tuple[Header, ...] = ((b"Host", b"127.0.0.1"),)


class Ask(NamedTuple):
    """What an agent sends to call a tool. `mcp_name`: the tool as the server knows it, None for plain HTTP."""

    key: tuple[str, str]
    """Server and tool, as records name them."""
    method: str
    path: str
    headers: tuple[Header, ...]
    noted: dict[bytes, bytes]
    body: bytes
    mcp_name: str | None

    def incoming(self, now: float, now_ms: int) -> Incoming:
        body = SentBody(self.body)
        return Incoming(
            self.method, self.path, None, self.headers, self.noted, frozenset(), body, now, now_ms
        )


class SentBody:
    """A request body that the agent has sent at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length: int | None = len(body)
        self.problem: Problem | None = None
        self.waiting, self.waited_s = False, 0.0

    async def whole(self, deadline: float | None = None) -> bytes:
        del deadline  # it is here in time
        return self._body

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._body


class UnreadReply:
    """The answer, at an agent that reads it as fast as it comes and forgets it."""

    def __init__(self) -> None:
        self.started = False
        self.sent_bytes = 0
        self.waiting, self.waited_s = False, 0.0

    async def whole(self, status: int, headers: Iterable[Header], body: bytes) -> None:
        del status, headers
        self.started = True
        self.sent_bytes += len(body)

    async def start(self, status: int, reason: bytes, headers: Iterable[Header], length: int | None) -> None:
        del status, reason, headers, length
        self.started = True

    async def write(self, piece: bytes) -> None:
        self.sent_bytes += len(piece)

    async def finish(self) -> None:
        """The end; nobody looks."""

    def abort(self) -> None:
        """The end, too."""


def arrivals(load: Load, pods: int, duration_s: float, rng: random.Random) -> Iterator[tuple[float, int]]:
    """When a call comes (seconds), and in which pod. Poisson: agents that know nothing of each other."""
    count = 0
    at = 0.0 if load.arrival == "Constant" else rng.expovariate(load.calls_per_second)
    while at < duration_s:
        if load.arrival == "Constant":
            yield at, count % pods
            count += 1
            at = count / load.calls_per_second
        else:
            yield at, rng.randrange(pods)
            at += rng.expovariate(load.calls_per_second)


def ask_for(name: str, policies: Iterable[snapshot.Policy]) -> Ask:
    """A call of the tool with this name in the policies, `<server>/*` for an unlisted one. Raises BadScenario."""
    known = []
    for policy in policies:
        protocols = {server.name: server.protocol for server in policy.servers}
        for tool in policy.tools:
            if tool.name == name:
                return _ask((tool.server, name), tool.match)
            known.append(tool.name)
        for server, protocol in protocols.items():
            if name == f"{server}/{snapshot.UNLISTED}":
                match = snapshot.McpMatch(_NOBODY) if protocol == "MCP" else snapshot.HttpMatch(f"/{_NOBODY}")
                return _ask((server, snapshot.UNLISTED), match)
            known.append(f"{server}/{snapshot.UNLISTED}")
    raise BadScenario([f"tools: {name!r} is no tool of the policy; its tools are {', '.join(known)}"])


async def recognised(ask: Ask, runtime: Runtime, incoming: Incoming, limits: Limits) -> ToolCall | Passing:
    """By the sidecar's own recognisers."""
    server = runtime.servers[ask.key[0]]
    if ask.mcp_name is None:
        return http.recognise(incoming, server)
    return await mcp.recognise(incoming, server, limits.body_bytes)


def _ask(key: tuple[str, str], match: snapshot.McpMatch | snapshot.HttpMatch) -> Ask:
    if isinstance(match, snapshot.McpMatch):
        tool = match.tool.replace("*", "x").replace("?", "x")
        params = {"name": tool, "arguments": {}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        body = msgspec.json.encode(message)
        return Ask(key, "POST", "", _MCP_HEADERS, _noted(_MCP_HEADERS), body, tool)
    path = "/".join("x" if segment is None else segment for segment in path_segments(match.path))
    method = match.methods[0] if match.methods else "GET"
    return Ask(key, method, path or "/", _HTTP_HEADERS, _noted(_HTTP_HEADERS), b"", None)


def _noted(headers: tuple[Header, ...]) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in headers if name.lower() in NOTED}
