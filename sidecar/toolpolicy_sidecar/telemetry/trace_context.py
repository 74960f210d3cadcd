"""Which trace a call belongs to (W3C Trace Context; `params._meta` of MCP has the same three names). Pure."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from toolpolicy_sidecar.call import TRACEPARENT, Incoming, McpCall, ToolCall
from toolpolicy_sidecar.mcp import jsonrpc

TRACESTATE = b"tracestate"
_PARENT, _STATE = "traceparent", "tracestate"
"""In `_meta`."""
SAMPLED = 1
SPAN_ID = slice(36, 52)
"""Where it stands in a traceparent."""
STATE_CHARACTERS = 512
"""As long as W3C asks to be passed on; a longer one is dropped whole, as it may be."""

_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_HEXADECIMAL = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_ZEROS = "0" * 32
_PLACES = 8


class TraceContext(NamedTuple):
    """Of a caller: 32 and 16 hexadecimal digits. `state`: its tracestate, "" for none."""

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""


class Lineage(NamedTuple):
    """Of what a call is a part. `link`: the HTTP request's own span, where the message names another parent.
    `in_meta`: the message carries the context. `trace_id`: all that is known, where there is no parent."""

    parent: TraceContext | None
    link: TraceContext | None = None
    in_meta: bool = False
    trace_id: str | None = None

    @property
    def known_as(self) -> str | None:
        """The trace that the call came with; None: it came with none."""
        return self.parent.trace_id if self.parent else self.trace_id


NOWHERE = Lineage(None)
"""A call that nobody traces yet."""


def lineage(call: ToolCall, trace_id_header: bytes | None) -> Lineage:
    """What a message says of itself counts before what its HTTP request says, both before `trace_id_header`."""
    by_request = of_headers(call.incoming)
    if call.mcp is not None and call.mcp.meta is not None:
        by_message = of_meta(call.mcp.meta)
        if by_message is not None:
            link = by_request if by_request and by_request.span_id != by_message.span_id else None
            return Lineage(by_message, link, in_meta=True)
    if by_request is None:
        known = None if trace_id_header is None else _plain_id(call.incoming, trace_id_header)
        return NOWHERE if known is None else Lineage(None, trace_id=known)
    return Lineage(by_request)


def trace_id_of(call: ToolCall) -> str | None:
    """As the call says it."""
    if TRACEPARENT not in call.incoming.noted and not in_message(call.mcp):
        return None
    return lineage(call, None).known_as


def in_message(mcp: McpCall | None) -> bool:
    """Whether the message itself says of which trace it is."""
    return mcp is not None and mcp.meta is not None and _PARENT in mcp.meta


def of_headers(incoming: Incoming) -> TraceContext | None:
    """None: there is none, or none that is valid."""
    noted = incoming.noted
    if TRACEPARENT not in noted or TRACEPARENT in incoming.repeated:
        return None
    states = [noted[TRACESTATE]] if TRACESTATE in noted else []
    if TRACESTATE in incoming.repeated:
        states = [value for name, value in incoming.headers if name.lower() == TRACESTATE]
    return parsed(noted[TRACEPARENT].decode("latin-1"), b",".join(states).decode("latin-1"))


def of_meta(meta: Mapping[str, msgspec.Raw]) -> TraceContext | None:
    """Of a JSON-RPC request's `params._meta`."""
    if _PARENT not in meta:
        return None
    return parsed(jsonrpc.text(meta[_PARENT]), jsonrpc.text(meta.get(_STATE)))


def parsed(parent: str, state: str) -> TraceContext | None:
    """Version 00 has exactly four parts; a later one may have more, which are not understood."""
    match = _TRACEPARENT.fullmatch(parent.strip())
    if match is None or (match[1] == "00" and match[5]):
        return None
    state = state if len(state) <= STATE_CHARACTERS and state.isascii() and state.isprintable() else ""
    return TraceContext(match[2], match[3], bool(int(match[4], 16) & SAMPLED), state)


def with_parent(body: bytes, parent: bytes) -> bytes:
    """A JSON-RPC request that has a traceparent in `params._meta`, with this one in its place; every other byte stays.

    The same text may stand elsewhere, in an argument: of its places the one is meant that changes `_meta`. A body that
    repeats it over and over stays as it is."""
    meta = _meta(body)
    if meta is None or _PARENT not in meta:
        return body
    old, new = bytes(meta[_PARENT]), b'"' + parent + b'"'
    at = len(body)
    for _ in range(_PLACES):
        at = body.rfind(old, 0, at)
        if at < 0:
            break
        changed = body[:at] + new + body[at + len(old) :]
        found = _meta(changed)
        if found is not None and bytes(found.get(_PARENT, b"")) == new:
            return changed
    return body


def _meta(body: bytes) -> dict[str, msgspec.Raw] | None:
    message = jsonrpc.members_of(body) or {}
    params = jsonrpc.members_of(message.get("params", msgspec.UNSET)) or {}
    return jsonrpc.members_of(params.get("_meta", msgspec.UNSET))


def _plain_id(incoming: Incoming, header: bytes) -> str | None:
    """A trace id by itself: 16 or 32 hexadecimal digits, or a UUID."""
    value = next((value for name, value in incoming.headers if name.lower() == header), b"")
    digits = value.decode("latin-1").strip().replace("-", "").lower()
    if _HEXADECIMAL.fullmatch(digits) is None:
        return None
    padded = digits.rjust(32, "0")
    return None if padded == _ZEROS else padded
