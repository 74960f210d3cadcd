"""Redirects of a server, turned back into addresses at the sidecar: followed as they are, they would pass it by."""

from urllib.parse import urlsplit

from toolpolicy_sidecar.call import Incoming
from toolpolicy_sidecar.tool import ServerState
from toolpolicy_sidecar.upstream.headers import Header


def inward(headers: tuple[Header, ...], incoming: Incoming, server: ServerState) -> tuple[Header, ...]:
    """With each Location that is below the server's url as `/<server>/<rest>`; any other stays, and all do for an
    agent that knows the server by its own address."""
    if incoming.addressed:
        return headers
    return tuple(
        (name, _inward(value, server)) if name.lower() == b"location" else (name, value)
        for name, value in headers
    )


def _inward(value: bytes, server: ServerState) -> bytes:
    try:
        parts = urlsplit(value.decode("ascii"))
        port = parts.port
    except (UnicodeDecodeError, ValueError):
        return value
    origin, prefix = server.place.origin, server.place.prefix
    if parts.netloc or parts.scheme:
        known = {"http": 80, "https": 443}
        if (parts.scheme, parts.hostname, port or known.get(parts.scheme)) != (
            origin.scheme,
            origin.host,
            origin.port,
        ):
            return value
    below = parts.path.removeprefix(prefix)
    if not parts.path.startswith("/") or not parts.path.startswith(prefix) or (below and below[0] != "/"):
        return value
    rest = f"?{parts.query}" if parts.query else ""
    return f"/{server.name}{below}{rest}".encode()
