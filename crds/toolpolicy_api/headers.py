"""Header fields that have a meaning of their own. Names in lower case."""

FRAMING = (
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
"""By these a message is read and sent on (RFC 9110, 9112, 6455): changed, it would be another message."""

MCP_PREFIX = "mcp-"
"""The protocol's own; those that mirror arguments are redacted with the arguments."""

CREDENTIALS = ("authorization", "cookie", "set-cookie")
"""A tool is called with these on purpose. Only a policy that names them wants them looked at."""


def never_redacted(name: str) -> bool:
    return name in FRAMING or name.startswith(MCP_PREFIX)
