"""The key by which a tool's server knows a repetition (draft-ietf-httpapi-idempotency-key-header)."""

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
