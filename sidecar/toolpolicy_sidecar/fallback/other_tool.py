"""A call of one tool, said as a call of another. Pure.

What goes along: the arguments that the policy maps, and the headers. To another server goes no header that may hold a
credential: it was given to the agent for the first one."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from toolpolicy_api import snapshot
from toolpolicy_sidecar.call import Incoming, McpCall, ToolCall, argument_keys
from toolpolicy_sidecar.fallback.held import ReadBody
from toolpolicy_sidecar.mcp import jsonrpc, mirror, sse
from toolpolicy_sidecar.mcp.answer import answer_to
from toolpolicy_sidecar.target import canonical
from toolpolicy_sidecar.tool import Other
from toolpolicy_sidecar.upstream.headers import Header

_OF_THE_FIRST = frozenset({b"content-encoding", b"content-length", b"idempotency-key", b"mcp-name"})
_TO_ANOTHER_SERVER = frozenset(
    {
        b"accept",
        b"accept-language",
        b"baggage",
        b"content-type",
        b"traceparent",
        b"tracestate",
        b"user-agent",
        b"x-request-id",
    }
)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_CONTINUES = frozenset({"inputResponses", "requestState"})


def said(call: ToolCall, other: Other, body: bytes | None, left_s: float, now: float) -> ToolCall | None:
    """The other tool's call, which ends within `left_s`. `body` is that of an HTTP call. None: the mapping does not
    give all that the other tool needs."""
    made = _mcp(call, call.mcp, other) if call.mcp is not None else _http(call, other, body)
    if made is None:
        return None
    incoming = replace(
        made.incoming,
        arrived=now,
        arrived_ms=call.incoming.arrived_ms + int((now - call.incoming.arrived) * 1000),
    )
    return replace(
        made,
        incoming=incoming,
        server=other.server,
        tool=other.tool.within(left_s),
        stands_for=call.tool.name,
    )


def final_of(body: bytes, identifier: bytes, *, events: bool) -> bytes | None:
    """The message that answers the MCP call with a success."""
    messages = [body]
    if events:
        splitter = sse.Splitter(len(body))
        messages = [event.data for event in (*splitter.feed(body), *splitter.end()) if event.data]
    for message in messages:
        found = answer_to(message, identifier)
        if found is not None and found.final:
            return None if found.tool_error else message
    return None


def _mcp(call: ToolCall, mcp: McpCall, other: Other) -> ToolCall | None:
    """Under an id of its own: the server may still be busy with the first call."""
    members = jsonrpc.members_of(mcp.body) or {}
    params = jsonrpc.members_of(members.get("params", msgspec.UNSET)) or {}
    arguments = jsonrpc.members_of(params.get("arguments", msgspec.UNSET)) or {}
    if not _CONTINUES.isdisjoint(params) or not isinstance(other.match, snapshot.McpMatch):
        return None
    name = other.match.tool
    if other.arguments is not None:
        arguments = {new: arguments[old] for new, old in other.arguments.items() if old in arguments}
    meta = jsonrpc.members_of(params.get("_meta", msgspec.UNSET)) or {}
    meta.pop("progressToken", None)
    first = mcp.identifier.decode().strip('"')
    identifier = msgspec.json.encode(f"{first}/fallback")
    params |= {"name": _raw(name), "arguments": _raw(arguments)}
    if "_meta" in params:
        params["_meta"] = _raw(meta)
    body = msgspec.json.encode({**members, "id": msgspec.Raw(identifier), "params": params})
    incoming = _with(call.incoming, _headers(call.incoming, keep=None), body)
    if b"mcp-name" in incoming.noted:
        header = _header_value(name)
        incoming = replace(
            incoming,
            headers=(*incoming.headers, (b"Mcp-Name", header)),
            noted={**incoming.noted, b"mcp-name": header},
        )
    made = McpCall(identifier, name, mcp.modern, body, meta if "_meta" in params else None)
    return replace(call, incoming=incoming, mcp=made, argument_keys=argument_keys(arguments))


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _header_value(name: str) -> bytes:
    """As MCP writes what no header can hold."""
    if name.isascii() and name.isprintable() and name == name.strip():
        return name.encode()
    return mirror.wrap(name)


def _http(call: ToolCall, other: Other, body: bytes | None) -> ToolCall | None:
    incoming, match, own = call.incoming, other.match, other.own
    if not isinstance(match, snapshot.HttpMatch) or not isinstance(own, snapshot.HttpMatch):
        return None
    method = incoming.method if incoming.method in (match.methods or (incoming.method,)) else match.methods[0]
    if method not in _WITH_BODY:
        body = b""
    given = _placeholders(own.path, incoming.path)
    query = _pairs(incoming.query)
    path = _filled(match.path, other.arguments or {}, given, query)
    if body is None or path is None:
        return None
    text = incoming.query
    if other.arguments is not None:
        values = query | given
        wanted = _names(match.path)
        text = "&".join(
            f"{new}={values[old]}"
            for new, old in other.arguments.items()
            if new not in wanted and old in values
        )
    keep = None if other.server.name == call.server.name else _TO_ANOTHER_SERVER
    headers = _headers(incoming, keep=keep)
    if not body:
        headers = tuple(header for header in headers if header[0].lower() != b"content-type")
    made = replace(_with(incoming, headers, body), method=method, path=path, query=text or None)
    return replace(call, incoming=made, argument_keys=argument_keys(_pairs(text)))


def _filled(
    template: str, mapping: Mapping[str, str], given: Mapping[str, str], query: Mapping[str, str]
) -> str | None:
    """The path, each placeholder with its value; None: one has none, or none that a path can hold."""
    segments = []
    for segment in template.split("/"):
        if segment.startswith("{"):
            old = mapping.get(segment[1:-1], segment[1:-1])
            value = given.get(old) or query.get(old, "").replace("+", "%20")
            if not value or "/" in value:
                return None
            segments.append(value)
        else:
            segments.append(segment)
    path = canonical("/".join(segments))
    return path if isinstance(path, str) else None


def _placeholders(template: str, path: str) -> dict[str, str]:
    """Name → the segment as it is written."""
    pairs = zip(template.split("/"), path.split("/"), strict=False)
    return {wanted[1:-1]: segment for wanted, segment in pairs if wanted.startswith("{")}


def _names(template: str) -> set[str]:
    return {segment[1:-1] for segment in template.split("/") if segment.startswith("{")}


def _pairs(query: str | None) -> dict[str, str]:
    """As they are written; of a name that is repeated the last."""
    return {
        name: value for name, _, value in (part.partition("=") for part in (query or "").split("&")) if name
    }


def _with(incoming: Incoming, headers: tuple[Header, ...], body: bytes) -> Incoming:
    kept = {name.lower() for name, _ in headers}
    noted = {name: value for name, value in incoming.noted.items() if name in kept or name == b"mcp-name"}
    return replace(incoming, headers=headers, noted=noted, body=ReadBody(body))


def _headers(incoming: Incoming, *, keep: frozenset[bytes] | None) -> tuple[Header, ...]:
    """`keep` None: all that are not about the first call."""
    return tuple(
        header
        for header in incoming.headers
        if (name := header[0].lower()) not in _OF_THE_FIRST
        and not mirror.of_argument(name)
        and (keep is None or name in keep)
    )
