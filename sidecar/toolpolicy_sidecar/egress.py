"""What the forward proxy does with a destination: a server of a policy, anything else, or refused."""

import ipaddress
from collections.abc import Iterable, Mapping

from toolpolicy_api import snapshot
from toolpolicy_sidecar.destination import canonical_host, shown
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.tool import ServerState
from toolpolicy_sidecar.upstream.origin import Origin

_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local: the metadata services of AWS, Azure, Google and others
        "fe80::/10",
        "fd00:ec2::254/128",  # AWS
        "fd20:ce::254/128",  # Google
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's wire server
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_WELL_KNOWN = "/.well-known/"


class Egress:
    """Of the policies in force."""

    def __init__(self, policies: Iterable[snapshot.Policy], servers: Mapping[str, ServerState]) -> None:
        self.denied_by = next(
            (policy.key for policy in policies if policy.egress_default == "Deny" and policy.mode != "Off"),
            None,
        )
        """The first policy that denies the rest; None: all of it is allowed."""
        self._at: dict[Origin, list[ServerState]] = {}
        for server in servers.values():
            self._at.setdefault(_canonical(server.place.origin), []).append(server)
        for found in self._at.values():
            found.sort(key=lambda server: len(server.place.prefix), reverse=True)
        self.intercepts = any(origin.scheme == "https" for origin in self._at)
        """Some server is reached by TLS."""
        self._hosts = frozenset(origin.host for origin in self._at)

    def named(self, origin: Origin) -> bool:
        """A policy has a server there, at whatever path."""
        return _canonical(origin) in self._at

    def hosts_at(self, port: int) -> frozenset[str]:
        """Of the policies' servers at this port."""
        return frozenset(origin.host for origin in self._at if origin.port == port)

    def dialled(self, origin: Origin) -> Origin:
        """With what a policy says of its TLS, where one names it."""
        servers = self._at.get(_canonical(origin))
        return servers[0].place.origin if servers else origin

    def covering(self, origin: Origin, path: str) -> tuple[ServerState, str] | None:
        """The server with the longest url that `path`, a canonical one, is below; and what follows its url."""
        for server in self._at.get(_canonical(origin), ()):
            rest = path.removeprefix(server.place.prefix)
            if path.startswith(server.place.prefix) and (not rest or rest[0] == "/"):
                return server, rest
        return None

    def refusal(self, origin: Origin, *, method: str = "", path: str = "") -> Problem | None:
        """For what no server covers. What a named server says of itself can always be read: MCP clients find the
        way to its OAuth server there (RFC 9728, RFC 8414)."""
        if self.denied_by is None:
            return None
        if method in {"GET", "HEAD"} and path.startswith(_WELL_KNOWN) and self.named(origin):
            return None
        text = f"policy {self.denied_by} lets this pod reach its servers only, and {shown(origin)} is none of them"
        return Problem(Reason.EgressDenied, text)

    def address_refusal(self, origin: Origin, address: str) -> str | None:
        """Why this address of the origin must not be dialled: a metadata service gives credentials to whoever asks,
        so that it takes a policy that names the host."""
        if origin.host.rstrip(".") in self._hosts or not is_metadata(address):
            return None
        return f"{shown(origin)} is a link-local or metadata address, and no policy names it"


def is_metadata(address: str) -> bool:
    """Also in the disguise of an IPv6 address that leads to an IPv4 one."""
    found: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            found = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        else:
            found = found.ipv4_mapped or found.sixtofour or found
    return any(found in network for network in _METADATA)


def _canonical(origin: Origin) -> Origin:
    """A dot at the end names the same host."""
    host = canonical_host(origin.host) or origin.host
    return Origin(origin.scheme, host.rstrip("."), origin.port)
