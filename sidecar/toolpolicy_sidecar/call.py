"""One request of an agent, as it came and as it was recognised; and the agent's side of the connection."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from functools import lru_cache
from itertools import islice
from typing import Protocol

import msgspec
from msgspec import Raw

from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.redact.expression import Bounds
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.redact.tokens import Session
from toolpolicy_sidecar.remembered import CHARACTERS, TEXTS
from toolpolicy_sidecar.tool import ServerState, ToolState
from toolpolicy_sidecar.upstream.headers import Header

TRACEPARENT = b"traceparent"
NOTED = frozenset(
    {
        b"accept",
        b"baggage",
        b"content-encoding",
        b"content-type",
        b"expect",
        b"grpc-timeout",
        b"host",
        b"mcp-method",
        b"mcp-name",
        b"mcp-protocol-version",
        b"mcp-session-id",
        TRACEPARENT,
        b"tracestate",
        b"upgrade",
        b"x-request-timeout-ms",
    }
)
"""The headers that the sidecar itself reads."""


class Body(Protocol):
    """The agent's request body. A read that fails leaves its `problem` for whoever sees a consequence."""

    length: int | None
    """Content-Length; 0 for no body, None for chunks of unknown number."""
    problem: Problem | None
    waiting: bool
    """The agent is being waited for, now."""
    waited_s: float
    """How long it was waited for, until it sent."""

    async def whole(self, deadline: float | None = None) -> bytes:
        """All of it. Raises Stopped: over the limit, too slow, malformed."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """As it comes. Raises Stopped, as `whole` does."""
        ...


class Reply(Protocol):
    """The answer to the agent. Either `whole`, or `start`, `write`…, and `finish` or `abort`."""

    @property
    def started(self) -> bool: ...
    @property
    def sent_bytes(self) -> int:
        """Of body."""
        ...

    @property
    def waiting(self) -> bool:
        """The agent is being waited for, now: it reads more slowly than the tool writes."""
        ...

    @property
    def waited_s(self) -> float:
        """How long it was waited for, until it read."""
        ...

    async def whole(self, status: int, headers: Iterable[Header], body: bytes) -> None: ...
    async def start(
        self, status: int, reason: bytes, headers: Iterable[Header], length: int | None
    ) -> None: ...
    async def write(self, piece: bytes) -> None: ...
    async def finish(self) -> None: ...
    def abort(self) -> None: ...


class Upgrade(Protocol):
    """An agent that wants a WebSocket in the place of an answer."""

    problem: Problem | None
    """Why this is no way to ask for one."""
    accept: bytes
    """What a server says that agrees (RFC 6455, 4.2.2)."""
    far: asyncio.Protocol
    """Has the server's connection then."""
    opened: bool

    def open(self, headers: Iterable[Header]) -> None:
        """Tells the agent that the server agrees, and joins the two. Raises ConnectionError."""
        ...

    async def closed(self) -> None:
        """Once it is open: until neither side has anything to say."""
        ...


class Incoming(msgspec.Struct, frozen=True):
    """A request whose head was read. `path` is what follows `/<server>`, canonical; `query` None: no `?`."""

    method: str
    path: str
    query: str | None
    headers: tuple[Header, ...]
    noted: dict[bytes, bytes]
    """The first value of each header in NOTED that is there."""
    repeated: frozenset[bytes]
    """Of NOTED, what was given more than once."""
    body: Body
    arrived: float
    """Monotonic seconds, when the head was complete."""
    arrived_ms: int
    addressed: bool = False
    """The agent wrote the server's own address: redirects stay as they are."""
    upgrade: Upgrade | None = None

    def text(self, name: bytes) -> str:
        """One of NOTED, "" when it is missing; values that are given apart, as one list."""
        if name in self.repeated:
            return b", ".join(value for key, value in self.headers if key.lower() == name).decode("latin-1")
        return self.noted.get(name, b"").decode("latin-1")


class McpCall(msgspec.Struct, frozen=True):
    """`identifier` is the request's id as raw JSON. `modern`: closing the stream cancels the call."""

    identifier: bytes
    name: str
    modern: bool
    body: bytes
    """The message, decoded from its Content-Encoding."""
    meta: dict[str, Raw] | None
    """Of its params, `_meta`; None: they have none."""
    arguments: Bounds | None = None
    """Where they stand in the body, if that is certain."""


class ToolCall(msgspec.Struct, frozen=True):
    """A call of one tool. `mcp` None: plain HTTP. `allow`: the path is listed, with these methods only. `stands_for`:
    the tool that failed, when this one is its fallback."""

    incoming: Incoming
    server: ServerState
    tool: ToolState
    argument_keys: tuple[str, ...]
    mcp: McpCall | None = None
    allow: tuple[str, ...] = ()
    stands_for: str | None = None

    @property
    def session(self) -> Session | None:
        """Whose tokens are made and put back; None: of nobody."""
        vault = self.tool.vault
        return None if vault is None else vault.session(self.incoming.headers)

    @property
    def on_request(self) -> Redactor | None:
        """Of the tool, for this conversation."""
        redactor = self.tool.on_request
        return redactor if redactor is None or self.tool.vault is None else redactor.of(self.session)

    @property
    def on_response(self) -> Redactor | None:
        """Of the tool, for this conversation."""
        redactor = self.tool.on_response
        return redactor if redactor is None or self.tool.vault is None else redactor.of(self.session)

    @property
    def put_back(self) -> Session | None:
        """The conversation whose values the tool is trusted with."""
        return self.session if self.tool.trusted else None


class Passing(msgspec.Struct, frozen=True):
    """No tool call: goes through untouched, without a total timeout. `pushes`: an event stream of the server,
    on which results and notifications may come. `lists`: it asks which tools there are. `reads`: it asks for contents.
    `body` None: streamed from the agent."""

    incoming: Incoming
    server: ServerState
    body: bytes | None = None
    pushes: bool = False
    lists: bool = False
    reads: bool = False

    @property
    def on_response(self) -> Redactor | None:
        """Of the server, for this conversation."""
        tool = self.server.unlisted
        if tool.on_response is None or tool.vault is None:
            return tool.on_response
        return tool.on_response.of(tool.vault.session(self.incoming.headers))


ARGUMENT_KEYS = 32
_NAME = re.compile(r"(?!(?:.*[0-9]){3})[\w$.\[\]-]{1,64}")
"""What a programmer calls an argument. A value in the place of a name (a token, an address, a number) is none."""
UNNAMED = "?"


def argument_keys(names: Iterable[str]) -> tuple[str, ...]:
    """Names come from the caller: bounded in number, and UNNAMED where they may be values, since they are logged."""
    some = tuple(islice(names, ARGUMENT_KEYS))
    return _known(some) if sum(map(len, some)) <= CHARACTERS else _shown(some)


def _shown(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([name if _NAME.fullmatch(name) else UNNAMED for name in names])


_known = lru_cache(TEXTS)(_shown)
