"""Headers that a policy cannot use for something of its own."""

_NO_KEY_HEADERS = frozenset(
    {
        "accept",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-timeout-ms",
    }
)
"""A key in one of these would change the request, or not arrive."""


def has_a_meaning(header: str | None) -> bool:
    """Of its own, so that it can carry nothing else."""
    name = (header or "").lower()
    return name in _NO_KEY_HEADERS or name.startswith("mcp-")
