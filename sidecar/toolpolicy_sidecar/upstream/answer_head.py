"""The head of an answer, read: what every answer with these header lines has in common."""

import msgspec

from toolpolicy_sidecar.upstream.headers import Header


class AnswerHead(msgspec.Struct, frozen=True):
    """`headers`: end to end, without Content-Length. `values`: the same by name, see Response."""

    status: int
    reason: bytes
    headers: tuple[Header, ...]
    values: dict[bytes, bytes]
