"""The head of an answer, read: what every answer with these header lines has in common."""

import msgspec

from toolpolicy_sidecar.upstream.headers import Header


class AnswerHead(msgspec.Struct, frozen=True):
    """`headers`: end to end, without Content-Length. `joined`: the same by name, see `exchange.joined`."""

    status: int
    reason: bytes
    headers: tuple[Header, ...]
    joined: dict[bytes, bytes]
