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
_FORBIDDEN = frozenset(b"\r\n\0")


def end_to_end(headers: Iterable[Header]) -> list[Header]:
    """Without hop-by-hop headers and those that `Connection` may name; duplicates and order stay."""
    kept = list(headers)
    named = {
        token.strip().lower()
        for name, value in kept
        if name.lower() == b"connection"
        for token in value.split(b",")
    }
    dropped = HOP_BY_HOP | (named - _OF_THE_MESSAGE)
    return [header for header in kept if header[0].lower() not in dropped]


def refuse_unsendable(parts: Iterable[bytes]) -> None:
    """Raises UnsendableRequest."""
    for part in parts:
        if not _FORBIDDEN.isdisjoint(part):
            raise UnsendableRequest("a header or the target holds CR, LF or NUL")
