"""Just enough of JSON-RPC 2.0 to know a tool call from everything else, and its answer from a notification."""

from typing import Any

import msgspec

MODERN = "2026-07-28"
"""From this protocol version on there are no sessions, and closing the stream cancels the call."""
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
HEADER_MISMATCH = -32020


class Message(msgspec.Struct):
    """`id` is kept as raw JSON, so that it is echoed exactly as it came."""

    id: msgspec.Raw = msgspec.Raw()
    method: str | None = None
    params: Any = None


class Answer(msgspec.Struct):
    """What comes back: a response has an `id` and no `method`."""

    id: msgspec.Raw = msgspec.Raw()
    method: str | None = None
    result: Any = None
    error: Any = None


_message = msgspec.json.Decoder(Message)
_answer = msgspec.json.Decoder(Answer)


def read(data: bytes) -> Message:
    """Raises msgspec.DecodeError or ValidationError: no JSON, or no single message."""
    return _message.decode(data)


def read_answer(data: bytes) -> Answer | None:
    """None when it is no JSON object."""
    try:
        return _answer.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None


def error(code: int, text: str, identifier: bytes = b"null") -> bytes:
    """A JSON-RPC error response."""
    body = {
        "jsonrpc": "2.0",
        "id": msgspec.Raw(identifier or b"null"),
        "error": {"code": code, "message": text},
    }
    return msgspec.json.encode(body)


def cancelled(identifier: bytes, reason: str) -> bytes:
    """The notification by which a client takes back a request (handshake era)."""
    params = {"requestId": msgspec.Raw(identifier), "reason": reason}
    return msgspec.json.encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
