"""Hop-by-hop headers: between two neighbours, never passed on (RFC 9110, 7.6.1)."""

from collections.abc import Iterable

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

_KEEP_ALIVE = b",keep-alive"
"""What most servers name: it goes in any case."""


def end_to_end(headers: Iterable[Header], dropped: frozenset[bytes] = HOP_BY_HOP) -> list[Header]:
    """Without those `dropped`, hop-by-hop headers among them, and without those that `Connection` may name; duplicates
    and order stay."""
    kept: list[Header] = []
    options = b""
    for header in headers:
        name = header[0].lower()
        if name not in dropped:
            kept.append(header)
        elif name == b"connection":
            options += b"," + header[1].lower()
    if not options or options == _KEEP_ALIVE:
        return kept
    named = {token.strip() for token in options.split(b",")} - _OF_THE_MESSAGE
    return kept if named <= dropped else [header for header in kept if header[0].lower() not in named]
