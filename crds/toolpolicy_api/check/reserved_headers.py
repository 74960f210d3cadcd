"""Headers that a policy cannot use for something of its own."""

from toolpolicy_api.headers import FRAMING, MCP_PREFIX

_OF_ANSWERS = frozenset({"proxy-authenticate"})
_NO_KEY_HEADERS = (frozenset(FRAMING) - _OF_ANSWERS) | {
    "accept",
    "authorization",
    "cookie",
    "x-request-timeout-ms",
}
"""A key in one of these would change the request, or not arrive."""


def has_a_meaning(header: str | None) -> bool:
    """Of its own, so that it can carry nothing else."""
    name = (header or "").lower()
    return name in _NO_KEY_HEADERS or name.startswith(MCP_PREFIX)
