"""MCP: `tools/call` is a tool call, decided from the body alone; everything else passes."""

import base64
import binascii

import msgspec

from toolpolicy_sidecar.call import Incoming, McpCall, Passing, Refused, ToolCall, argument_keys
from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.tool import McpTools, ServerState

TOOLS_CALL = "tools/call"
_ROUTING = (b"mcp-method", b"mcp-name", b"mcp-protocol-version", b"mcp-session-id")


def recognise(incoming: Incoming, server: ServerState) -> ToolCall | Passing | Refused:
    if incoming.method != "POST":
        return Passing(incoming, server)
    if incoming.body.lstrip()[:1] == b"[":
        text = "batches are not part of MCP; send each message as a request of its own"
        return _refused(Reason.BatchRefused, jsonrpc.INVALID_REQUEST, text)
    try:
        message = jsonrpc.read(incoming.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _refused(Reason.MalformedRequest, jsonrpc.PARSE_ERROR, "the body is no JSON-RPC message")
    identifier = bytes(message.id)
    mismatch = _mismatch(incoming, message)
    if mismatch:
        return _refused(Reason.HeaderMismatch, jsonrpc.HEADER_MISMATCH, mismatch, identifier)
    if message.method != TOOLS_CALL or not identifier:
        return Passing(incoming, server)
    params = message.params if isinstance(message.params, dict) else {}
    name = params.get("name")
    if not isinstance(name, str):
        text = "tools/call needs params.name"
        return _refused(Reason.MalformedRequest, jsonrpc.INVALID_REQUEST, text, identifier)
    found = server.tools.find(name) if isinstance(server.tools, McpTools) else None
    call = McpCall(identifier, name, _modern(incoming, params), incoming.text_header(b"mcp-session-id"))
    return ToolCall(incoming, server, found or server.unlisted, argument_keys(params.get("arguments")), call)


def _modern(incoming: Incoming, params: dict[str, object]) -> bool:
    meta = params.get("_meta")
    version = meta.get(jsonrpc.VERSION_KEY) if isinstance(meta, dict) else None
    return str(version or incoming.text_header(b"mcp-protocol-version")) >= jsonrpc.MODERN


def _mismatch(incoming: Incoming, message: jsonrpc.Message) -> str | None:
    """A header that routes must not say anything but the body: else policy and server see different calls."""
    seen: set[bytes] = set()
    for key, _ in incoming.headers:
        lower = key.lower()
        if lower in _ROUTING and lower in seen:
            return f"{lower.decode()} is given twice"
        seen.add(lower)
    method = incoming.header(b"mcp-method")
    if method is not None and message.method is not None and method.decode("latin-1") != message.method:
        return f"Mcp-Method does not agree with the body, which says {message.method[:64]!r}"
    name = incoming.header(b"mcp-name")
    params = message.params if isinstance(message.params, dict) else {}
    wanted = params.get("uri") if message.method == "resources/read" else params.get("name")
    if name is not None and isinstance(wanted, str) and _decoded(name) != wanted:
        return "Mcp-Name does not agree with the body"
    return None


def _decoded(value: bytes) -> str:
    """`=?base64?…?=` is how values that no header can hold are written."""
    if value.startswith(b"=?base64?") and value.endswith(b"?="):
        try:
            return base64.b64decode(value[9:-2], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return value.decode("latin-1")


def _refused(reason: Reason, code: int, text: str, identifier: bytes = b"") -> Refused:
    return Refused(reason, text, body=jsonrpc.error(code, text, identifier))
