"""Servers that may have WebSockets."""

from collections.abc import Iterator

from toolpolicy_api import policy as written
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.compile import effective_redaction


def check_upgrades(spec: written.Spec) -> Iterator[Finding]:
    for index, server in enumerate(spec.servers):
        if server.upgrade == "Refuse":
            continue
        field = f"spec.servers[{index}].upgrade"
        if server.protocol != "HTTP":
            text = (
                "MCP has no WebSockets, and calls in one would pass the policy by; Tunnel is for HTTP servers"
            )
            yield Finding(field, text)
        elif all(_refuses(redaction) for redaction in _redactions(spec, server.name)):
            yield Finding(
                field,
                "every call of it is redacted, what is said in a WebSocket cannot be, and onUnscannable is Refuse;"
                " list the WebSocket as a tool that is in redaction.exempt or has redaction.onUnscannable: Pass",
            )


def _redactions(spec: written.Spec, server: str) -> Iterator[written.Redaction | None]:
    """Of its calls that no tool lists, and of each of its tools."""
    default = spec.redaction
    yield default
    for tool in spec.tools:
        if tool.server != server:
            continue
        if default and tool.name in default.exempt:
            yield None
        else:
            yield effective_redaction(tool.redaction, default) if tool.redaction else default


def _refuses(redaction: written.Redaction | None) -> bool:
    if redaction is None or not (redaction.detectors or redaction.patterns or redaction.fields):
        return False
    return redaction.on_unscannable == "Refuse"
