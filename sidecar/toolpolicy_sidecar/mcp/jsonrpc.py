"""Just enough of JSON-RPC 2.0 to know a tool call from everything else, and its answer from a notification."""

import json

import msgspec
from msgspec import UNSET, Raw, UnsetType

from toolpolicy_sidecar.redact.expression import Bounds, Expression

MODERN = "2026-07-28"
"""From this protocol version on there are no sessions, and closing the stream cancels the call."""
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
"""In `_meta`."""

CANCELLED = "notifications/cancelled"
_BEGINNING_BYTES = 32
_SURE_DIGITS = 18
"""An integer of no more is one for every reader."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
HEADER_MISMATCH = -32020


def _repeating(*members: str) -> Expression:
    r"""RE2: an escape that may write one of them, or one of them twice."""
    return Expression("|".join([r"\\u", *(rf'"{member}"\C*"{member}"' for member in members)]))


_AMBIGUOUS = _repeating("method", "params", "id", "name", "arguments", "_meta")
_ANSWERED_TWICE = _repeating("result", "error", "params")


class Malformed(ValueError):  # noqa: N818 -- a verdict on input
    """`code` is JSON-RPC's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Batch(Malformed):
    """An array of messages: refused in every version of MCP that is spoken today."""


class Message(msgspec.Struct):
    """Members as raw JSON, so that they are echoed exactly as they came."""

    id: Raw | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


class CallParams(msgspec.Struct):
    name: str
    arguments: Raw | UnsetType = UNSET
    meta: Raw | UnsetType = msgspec.field(name="_meta", default=UNSET)


class _Named(msgspec.Struct):
    name: str | None = None


as_message = msgspec.json.Decoder(Message).decode
_call_params = msgspec.json.Decoder(CallParams)
_object = msgspec.json.Decoder(dict[str, Raw])
_named = msgspec.json.Decoder(_Named)
_identifier = msgspec.json.Decoder(int | str)
_text = msgspec.json.Decoder(str)


def read(data: bytes) -> Message:
    """One message. Raises Malformed or Batch."""
    try:
        if not data.isascii():
            data.decode()  # msgspec skips members unseen, and a lenient server might find ours among them
        return as_message(data)
    except msgspec.ValidationError:
        if data.lstrip()[:1] == b"[":
            text = "batches are not part of MCP; send each message as a request of its own"
            raise Batch(INVALID_REQUEST, text) from None
        raise Malformed(INVALID_REQUEST, "the body is no JSON-RPC message") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed(PARSE_ERROR, "the body is not valid JSON") from None
    except RecursionError:
        raise Malformed(PARSE_ERROR, "the body is nested too deep") from None


def place(data: bytes, part: Raw | UnsetType) -> Bounds | None:
    """Where this part of a message stands in it. None: nowhere, or it is not certain, since what begins so is there
    twice."""
    if isinstance(part, UnsetType):
        return None
    raw = bytes(part)
    begun = raw[:_BEGINNING_BYTES]  # a long needle takes longer to prepare than to find
    at = data.find(begun)
    if data.find(begun, at + 1) >= 0 or not data.startswith(raw, at):
        return None
    return at, at + len(raw)


def unambiguous(data: bytes, arguments: Bounds | None = None) -> bytes:
    """The same message with each member once. Of a repeated member the last counts, here and, by this, for the
    server; bytes that cannot repeat one are returned as they are. `data` was read already. `arguments`: what stands
    there is nobody's business but the tool's."""
    around = data if arguments is None else data[: arguments[0]] + data[arguments[1] :]
    if _AMBIGUOUS.first(around) is None:
        return data
    message = _object.decode(data)
    params = message.get("params")
    if params is not None and bytes(params)[:1] == b"{":
        message["params"] = Raw(msgspec.json.encode(_object.decode(params)))
    return msgspec.json.encode(message)


def once(data: bytes) -> bytes:
    """What a server says, with each member of the message once, the last: a client may take another one than we do.
    Bytes that repeat none are returned as they are. `data` was read already."""
    if _ANSWERED_TWICE.first(data) is None:
        return data
    names: list[str] = []

    def members(pairs: list[tuple[str, object]]) -> None:
        names[:] = [name for name, _ in pairs]  # of the outermost object last

    try:
        json.loads(data, object_pairs_hook=members)
    except (RecursionError, ValueError):
        return msgspec.json.encode(_object.decode(data))
    return data if len(names) == len(set(names)) else msgspec.json.encode(_object.decode(data))


def identifier(message: Message) -> bytes | None:
    """Raw JSON of a request's id; None for a notification. Raises Malformed for what cannot be one."""
    if isinstance(message.id, UnsetType):
        return None
    raw = bytes(message.id)
    if not (raw.isdigit() and len(raw) <= _SURE_DIGITS):
        try:
            _identifier.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Malformed(INVALID_REQUEST, "an id is a string or an integer") from None
    return raw


def call_params(message: Message) -> CallParams:
    """Of tools/call. Raises Malformed."""
    try:
        if not isinstance(message.params, UnsetType):
            return _call_params.decode(message.params)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    raise Malformed(INVALID_REQUEST, "tools/call needs params with a name")


def name_of(message: Message) -> str | None:
    """`params.name`, if there is one."""
    try:
        return None if isinstance(message.params, UnsetType) else _named.decode(message.params).name
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def keys(value: Raw | UnsetType) -> tuple[str, ...]:
    """Of an object; nothing for anything else."""
    members = members_of(value)
    return tuple(members) if members else ()


def members_of(value: Raw | bytes | UnsetType) -> dict[str, Raw] | None:
    if isinstance(value, UnsetType):
        return None
    try:
        return _object.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def meta_of(params: CallParams) -> dict[str, Raw] | None:
    """None: there is no `_meta`."""
    return None if isinstance(params.meta, UnsetType) else members_of(params.meta) or {}


def text(raw: Raw | None) -> str:
    """Of a string; "" for anything else."""
    try:
        return "" if raw is None else _text.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def same(theirs: bytes, ours: bytes) -> bool:
    """Equal as values and types: a server may write the same string with other escapes."""
    if theirs == ours:
        return True
    try:
        return bool(_identifier.decode(theirs) == _identifier.decode(ours))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """A message with the id `old`, with `new` in its place; any other as it is. Both are raw JSON."""
    members = members_of(data)
    if members is None or "id" not in members or not same(bytes(members["id"]), old):
        return data
    members["id"] = Raw(new)
    return msgspec.json.encode(members)


def taken_back(data: bytes) -> bytes | None:
    """The id that a cancellation is about, as `plain` writes it; None: this is none. `data` was
    read already."""
    if CANCELLED.encode() not in data:
        return None
    message = read(data)
    params = members_of(message.params) or {}
    return plain(params["requestId"]) if message.method == CANCELLED and "requestId" in params else None


def plain(identifier: Raw | bytes) -> bytes:
    """The one way to write this id: the same string may come with other escapes. What is no id stays as it is."""
    try:
        return msgspec.json.encode(_identifier.decode(identifier))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return bytes(identifier)


def redirected(data: bytes, identifier: bytes) -> bytes:
    """A cancellation, about this id instead. `data` was read by `taken_back`."""
    members = members_of(data) or {}
    params = members_of(members.get("params", UNSET)) or {}
    params["requestId"] = Raw(identifier)
    members["params"] = Raw(msgspec.json.encode(params))
    return msgspec.json.encode(members)


def error(code: int, text: str, identifier: bytes, data: dict[str, object]) -> bytes:
    """A JSON-RPC error response."""
    body = {
        "jsonrpc": "2.0",
        "id": Raw(identifier),
        "error": {"code": code, "message": text, "data": data},
    }
    return msgspec.json.encode(body)


def cancelled(identifier: bytes, reason: str) -> bytes:
    """The notification by which a client takes back a request (handshake era)."""
    params = {"requestId": Raw(identifier), "reason": reason}
    return msgspec.json.encode({"jsonrpc": "2.0", "method": CANCELLED, "params": params})
