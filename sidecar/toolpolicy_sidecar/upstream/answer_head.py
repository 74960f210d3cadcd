"""The head of an answer, read: what every answer with these header lines has in common."""

import msgspec

from toolpolicy_sidecar.remembered import remembered_headers
from toolpolicy_sidecar.upstream.exchange import by_name
from toolpolicy_sidecar.upstream.headers import HOP_BY_HOP, Header, end_to_end

_LENGTH = b"content-length"
_NOT_PASSED_ON = HOP_BY_HOP | {_LENGTH}


class AnswerHead(msgspec.Struct, frozen=True):
    """`headers`: end to end, without Content-Length. `values`: the same by name, see Response."""

    status: int
    reason: bytes
    headers: tuple[Header, ...]
    values: dict[bytes, bytes]


@remembered_headers
def understood(headers: tuple[Header, ...]) -> tuple[tuple[Header, ...], dict[bytes, bytes], int | None]:
    """What goes on to the agent, the same by name, and the length of the body."""
    passed_on = tuple(end_to_end(headers, _NOT_PASSED_ON))
    length = next((int(value) for name, value in headers if name.lower() == _LENGTH), None)
    return passed_on, by_name(passed_on), length
