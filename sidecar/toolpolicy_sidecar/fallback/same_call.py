"""When are two calls the same, so that the answer to one may be given to the other? Pure.

Same tool at the same place, same arguments, same caller. Who the caller is may stand in any header (a token, a cookie,
a key, a tenant), so every header counts except those that are known to say nothing of the kind."""

import hashlib
import secrets

import msgspec

from toolpolicy_sidecar.call import Incoming, McpCall, ToolCall
from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.upstream.headers import HOP_BY_HOP

_SECRET = secrets.token_bytes(32)
"""Arguments are not kept, and their digests mean nothing outside of this process."""

_IGNORED = (
    HOP_BY_HOP
    | {
        b"accept-encoding",
        b"baggage",
        b"content-length",
        b"date",
        b"host",
        b"idempotency-key",
        b"mcp-session-id",  # of a conversation; who speaks stands elsewhere (MCP forbids sessions as authentication)
        b"sentry-trace",
        b"traceparent",
        b"tracestate",
        b"user-agent",
        b"x-amzn-trace-id",
        b"x-b3-parentspanid",
        b"x-b3-sampled",
        b"x-b3-spanid",
        b"x-b3-traceid",
        b"x-correlation-id",
        b"x-request-id",
        b"x-request-timeout-ms",
    }
)
_IGNORED_META = frozenset({"progressToken", "traceparent", "tracestate", "baggage"})
_PROTOCOL_META = "io.modelcontextprotocol/"
_CONTINUES = frozenset({"inputResponses", "requestState"})
"""The call goes on with an earlier one: its arguments are not all it says."""


def digest(call: ToolCall, body: bytes | None) -> bytes | None:
    """None: what the call says is not known whole. `body` is that of an HTTP call, before redaction: two secrets
    that redaction makes equal are two arguments all the same."""
    said = (body,) if call.mcp is None else _said(call.mcp)
    if said is None or body is None:
        return None
    incoming = call.incoming
    whole = (
        call.server.place,
        incoming.method,
        incoming.path,
        incoming.query,
        _caller(incoming),
        said,
    )
    return hashlib.blake2b(msgspec.msgpack.encode(whole), key=_SECRET, digest_size=32).digest()


def _caller(incoming: Incoming) -> list[tuple[bytes, bytes]]:
    lowered = [(name.lower(), value) for name, value in incoming.headers]
    return [header for header in lowered if header[0] not in _IGNORED]


def _said(mcp: McpCall) -> tuple[str, bytes, bytes] | None:
    params = jsonrpc.members_of((jsonrpc.members_of(mcp.body) or {}).get("params", msgspec.UNSET))
    if params is None or not _CONTINUES.isdisjoint(params):
        return None
    meta = jsonrpc.members_of(params.get("_meta", msgspec.UNSET)) or {}
    told = {
        name: value
        for name, value in meta.items()
        if name not in _IGNORED_META and not name.startswith(_PROTOCOL_META)
    }
    try:
        return mcp.name, _canonical(params.get("arguments", msgspec.Raw(b"{}"))), _canonical(told)
    except (msgspec.DecodeError, RecursionError):
        return None


def _canonical(value: msgspec.Raw | dict[str, msgspec.Raw]) -> bytes:
    data = value if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
    return msgspec.json.encode(msgspec.json.decode(data), order="sorted")
