"""Hop-by-hop headers: between two neighbours, never passed on (RFC 9110, 7.6.1)."""

from collections.abc import Iterable

from toolpolicy_sidecar.upstream.failure import UnsendableRequest

Header = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

_OF_THE_MESSAGE = frozenset({b"content-encoding", b"content-length", b"content-type", b"host"})
"""Not to be named by `Connection` (RFC 9110, 7.6.1): without them the next server would read another message."""


def end_to_end(headers: Iterable[Header]) -> list[Header]:
    """Without hop-by-hop headers and those that `Connection` may name; duplicates and order stay."""
    kept: list[Header] = []
    named: set[bytes] = set()
    for header in headers:
        name = header[0].lower()
        if name not in HOP_BY_HOP:
            kept.append(header)
        elif name == b"connection":
            named.update(token.strip().lower() for token in header[1].split(b","))
    named -= _OF_THE_MESSAGE
    if named <= HOP_BY_HOP:
        return kept
    return [header for header in kept if header[0].lower() not in named]


def refuse_unsendable(head: bytes, lines: int) -> None:
    """`head` is made of so many lines, each with its end. Raises UnsendableRequest when one of them holds another."""
    if head.count(b"\r") != lines or head.count(b"\n") != lines or b"\0" in head:
        raise UnsendableRequest("a header or the target holds CR, LF or NUL")
