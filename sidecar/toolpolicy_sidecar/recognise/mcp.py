"""MCP: `tools/call` is a tool call, decided from the body alone; everything else passes."""

from msgspec import UnsetType

from toolpolicy_sidecar.call import Incoming, McpCall, Passing, ToolCall, argument_keys
from toolpolicy_sidecar.mcp import jsonrpc, mirror
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.redact.encoding import decode
from toolpolicy_sidecar.redact.verdict import TooLarge, Unscannable
from toolpolicy_sidecar.tool import McpTools, ServerState

TOOLS_CALL = "tools/call"
TOOLS_LIST = "tools/list"
READS = frozenset({"resources/read", "prompts/get"})
"""What a model reads beside results of tools."""
_ROUTING = frozenset({b"mcp-method", b"mcp-name", b"mcp-protocol-version", b"mcp-session-id"})
_ENCODINGS = frozenset({b"", b"identity", b"gzip", b"x-gzip", b"deflate"})


async def recognise(incoming: Incoming, server: ServerState, limit_bytes: int) -> ToolCall | Passing:
    """Reads the body of a POST. Raises Stopped."""
    if incoming.method != "POST":
        return Passing(incoming, server, pushes=incoming.method == "GET")
    try:
        body = _plain(incoming, await incoming.body.whole(), limit_bytes)
        return _message(incoming, server, body)
    except jsonrpc.Malformed as malformed:
        batch = isinstance(malformed, jsonrpc.Batch)
        reason = Reason.BatchRefused if batch else Reason.MalformedRequest
        raise Stopped(Problem(reason, str(malformed), code=malformed.code)) from None


def _plain(incoming: Incoming, body: bytes, limit_bytes: int) -> bytes:
    """Without its Content-Encoding: what cannot be read could be any call."""
    encoding = incoming.noted.get(b"content-encoding", b"").strip().lower()
    if not encoding:
        return body
    if encoding not in _ENCODINGS or b"content-encoding" in incoming.repeated:
        text = "the request's Content-Encoding is none of gzip and deflate"
        raise Stopped(Problem(Reason.UnsupportedEncoding, text, code=jsonrpc.INVALID_REQUEST))
    try:
        return decode(body, encoding.decode(), limit_bytes)
    except TooLarge:
        text = f"the decoded body is over {limit_bytes} bytes"
        raise Stopped(Problem(Reason.BodyTooLarge, text, code=jsonrpc.INVALID_REQUEST)) from None
    except Unscannable as error:
        raise jsonrpc.Malformed(jsonrpc.PARSE_ERROR, f"the body cannot be decoded: {error}") from None


def _message(incoming: Incoming, server: ServerState, body: bytes) -> ToolCall | Passing:
    message = jsonrpc.read(body)
    _refuse_mismatch(incoming, message)
    if message.method != TOOLS_CALL:
        body = jsonrpc.unambiguous(body)
        pushes, lists = message.method == "subscriptions/listen", message.method == TOOLS_LIST
        return Passing(incoming, server, body, pushes=pushes, lists=lists, reads=message.method in READS)
    identifier = jsonrpc.identifier(message)
    if identifier is None:
        raise jsonrpc.Malformed(jsonrpc.INVALID_REQUEST, "tools/call needs an id")
    params = jsonrpc.call_params(message)
    found = server.tools.find(params.name) if isinstance(server.tools, McpTools) else None
    meta = jsonrpc.meta_of(params)
    version = jsonrpc.text(meta.get(jsonrpc.VERSION_KEY)) if meta else ""
    version = version or incoming.text(b"mcp-protocol-version")
    arguments = jsonrpc.place(body, params.arguments)
    sent = jsonrpc.unambiguous(body, arguments)
    if sent is not body:
        arguments = None
    call = McpCall(identifier, params.name, version >= jsonrpc.MODERN, sent, meta, arguments)
    keys = argument_keys(jsonrpc.keys(params.arguments))
    return ToolCall(incoming, server, found or server.unlisted, keys, call)


def _refuse_mismatch(incoming: Incoming, message: jsonrpc.Message) -> None:
    """A header that routes must not say anything but the body: else policy and server see different calls."""
    noted = incoming.noted
    if incoming.repeated and (twice := incoming.repeated & _ROUTING):
        _mismatch(message, f"{min(twice).decode()} is given twice")
    if isinstance(message.method, UnsetType):
        return
    method, name = noted.get(b"mcp-method"), noted.get(b"mcp-name")
    if method is not None and method.decode("latin-1") != message.method:
        _mismatch(message, "Mcp-Method does not agree with the method in the body")
    if name is not None and message.method == TOOLS_CALL and mirror.decoded(name) != jsonrpc.name_of(message):
        _mismatch(message, "Mcp-Name does not agree with the name in the body")
    mirrors = mirror.of_arguments(incoming.headers) if message.method == TOOLS_CALL else ()
    if mirrors and any(mirror.decoded(value) is None for _, value in mirrors):
        _mismatch(message, "a Mcp-Param header is no base64, although it says so")


def _mismatch(message: jsonrpc.Message, text: str) -> None:
    identifier = b"null" if isinstance(message.id, UnsetType) else bytes(message.id)
    raise Stopped(Problem(Reason.HeaderMismatch, text, code=jsonrpc.HEADER_MISMATCH, identifier=identifier))
