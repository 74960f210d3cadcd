"""What the sidecar takes from the agent and from the tools, whatever the policy says."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    body_bytes: int = 10 * 1024 * 1024
    """Of a request, and of an answer or event that must be read whole."""
    header_bytes: int = 64 * 1024
    """Of the request line and all headers together."""
    header_count: int = 128
    head_s: float = 10.0
    """From the first byte of a request's line to the end of its headers."""
    request_s: float = 30.0
    """For the agent to send its whole request."""
    tunnels: int = 1024
    """Open at once, to hosts that no policy names; and as many WebSockets to its servers, on each listener."""
    tunnel_idle_s: float = 3600.0
    """A tunnel or WebSocket in which nothing moves either way for so long is cut."""
    handshake_s: float = 10.0
    """For the agent's TLS handshake, where it is intercepted."""
    keep_alive_s: float = 75.0
    """For the next request of an agent to begin, or the first one."""
