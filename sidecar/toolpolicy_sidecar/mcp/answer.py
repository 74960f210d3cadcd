"""What a message from a server says about a call."""

import msgspec
from msgspec import UNSET, Raw, UnsetType

from toolpolicy_sidecar.mcp import jsonrpc


class _Flagged(msgspec.Struct):
    isError: bool = False  # noqa: N815 -- the name on the wire


class Answer(msgspec.Struct, frozen=True):
    """What a message from the server says about a call: is it the answer (`final`), and a bad one? `contents`: what a
    tool says in it, where that is easily told apart."""

    final: bool
    tool_error: bool
    contents: tuple[Raw | UnsetType, ...] = ()


class _UsualResult(_Flagged):
    content: Raw | UnsetType = UNSET
    structuredContent: Raw | UnsetType = UNSET  # noqa: N815 -- the name on the wire


class _UsualAnswer(msgspec.Struct):
    """The members of a Message, and what matters of a result that is as a tool's should be."""

    id: Raw
    result: _UsualResult
    method: str | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_usual = msgspec.json.Decoder(_UsualAnswer)
_flagged = msgspec.json.Decoder(_Flagged)


def answer_to(data: bytes, identifier: bytes) -> Answer | None:
    """None: this is no message. An error without an id is final too: its request could not be read."""
    try:
        usual = _usual.decode(data)
        if usual.error is UNSET and bytes(usual.id) == identifier:
            result = usual.result
            contents = (result.content, result.structuredContent)
            return Answer(final=True, tool_error=result.isError, contents=contents)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        message = jsonrpc.as_message(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    failed = not isinstance(message.error, UnsetType)
    if isinstance(message.result, UnsetType) and not failed:
        return Answer(final=False, tool_error=False)
    theirs = b"null" if isinstance(message.id, UnsetType) else bytes(message.id)
    if not (jsonrpc.same(theirs, identifier) or (failed and theirs == b"null")):
        return Answer(final=False, tool_error=False)
    return Answer(final=True, tool_error=failed or _is_error(message.result))


def _is_error(result: Raw | UnsetType) -> bool:
    if isinstance(result, UnsetType):
        return False
    try:
        return _flagged.decode(result).isError
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
