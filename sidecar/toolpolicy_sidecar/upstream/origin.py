"""Where a server is: scheme, host and port, and the path in front of every call."""

from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from toolpolicy_api.snapshot import ServerTls

_PIPES = "stdio"
_DEFAULT_PORTS = {"http": 80, "https": 443, _PIPES: 0}


class Origin(msgspec.Struct, frozen=True):
    """Connections are pooled by it. `tls`: of an https server, what its policy says of it."""

    scheme: str
    host: str
    port: int
    tls: ServerTls | None = None

    @property
    def tls_name(self) -> str:
        """Asked for by SNI, and looked for in the certificate."""
        return (self.tls and self.tls.server_name) or self.host.rstrip(".")

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"

    @property
    def piped(self) -> bool:
        """Nothing can be dialled: whoever starts the server speaks to it over pipes."""
        return self.scheme == _PIPES

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Place(NamedTuple):
    """A server's url: `prefix` has no slash at its end."""

    origin: Origin
    prefix: str


def parse(url: str) -> Place:
    """Raises ValueError for what is no absolute http(s) URL with a host."""
    parts = urlsplit(url)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.username
        or parts.query
        or parts.fragment
    ):
        raise ValueError(f"{url!r} is no http(s) URL of a server, such as https://kb.internal/mcp")
    host = parts.hostname
    if not host.isascii():
        host = host.encode("idna").decode()
    return Place(
        Origin(parts.scheme, host.lower(), parts.port or _DEFAULT_PORTS[parts.scheme]), parts.path.rstrip("/")
    )


def over_pipes(server: str) -> Place:
    """Of the server with this name: it has no address."""
    return Place(Origin(_PIPES, server, 0), "")
