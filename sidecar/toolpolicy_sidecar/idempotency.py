"""The key by which a tool's server knows a repetition (draft-ietf-httpapi-idempotency-key-header)."""

import random
from collections.abc import Callable

from toolpolicy_sidecar.upstream.headers import Header


def keyed(headers: tuple[Header, ...], name: str, make: Callable[[], str]) -> tuple[tuple[Header, ...], bool]:
    """The headers with a key, and whether there is one. The agent's own is never changed, even an empty one, which
    is none."""
    wanted = name.lower().encode()
    for header, value in headers:
        if header.lower() == wanted:
            return headers, bool(value.strip())
    return (*headers, (name.encode(), make().encode())), True


def identifier(rng: random.Random) -> str:
    """One that nobody else makes: for a key, and for an attempt at a server of MCP."""
    return f"{rng.getrandbits(128):032x}"
