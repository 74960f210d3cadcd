"""One request of an agent, recognised: a tool call, or something that passes."""

from typing import NamedTuple

from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.tool import ServerState, ToolState
from toolpolicy_sidecar.upstream.headers import Header


class Incoming(NamedTuple):
    """A request as it was read. `path` is what follows `/<server>`; `arrived` is monotonic seconds."""

    method: str
    path: str
    query: str
    headers: tuple[Header, ...]
    body: bytes
    arrived: float
    arrived_ms: int

    def header(self, name: bytes) -> bytes | None:
        """The first of this (lower-case) name."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def text_header(self, name: bytes) -> str:
        return (self.header(name) or b"").decode("latin-1")


class McpCall(NamedTuple):
    """`identifier` is the request's id as raw JSON. `modern`: closing the stream cancels."""

    identifier: bytes
    name: str
    modern: bool
    session: str


class ToolCall(NamedTuple):
    """A call of one tool. `mcp` None: plain HTTP."""

    incoming: Incoming
    server: ServerState
    tool: ToolState
    argument_keys: tuple[str, ...]
    mcp: McpCall | None = None


class Passing(NamedTuple):
    """No tool call: goes through untouched, without a total timeout."""

    incoming: Incoming
    server: ServerState


class Refused(NamedTuple):
    """A verdict before anything was sent. `extra` headers go with the answer."""

    reason: Reason
    detail: str
    retry_after_s: float | None = None
    extra: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    """A ready JSON body (a JSON-RPC error), where the protocol wants one."""


ARGUMENT_KEYS = 32
KEY_CHARACTERS = 64


def argument_keys(names: object) -> tuple[str, ...]:
    """Names come from the caller: bounded in number and length."""
    if not isinstance(names, dict | list | tuple):
        return ()
    return tuple(str(name)[:KEY_CHARACTERS] for name in list(names)[:ARGUMENT_KEYS])
