"""Where a connection was going before the kernel redirected it here (netfilter's REDIRECT)."""

import ipaddress
import socket
import struct
from typing import NamedTuple

_SO_ORIGINAL_DST = 80
"""linux/netfilter_ipv4.h; and the same number, IP6T_SO_ORIGINAL_DST, in linux/netfilter_ipv6/ip6_tables.h."""


class Address(NamedTuple):
    host: str
    port: int


def original(connection: socket.socket) -> Address | None:
    """None: it was not redirected."""
    try:
        if connection.family == socket.AF_INET6:
            packed = connection.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
            port, host = struct.unpack_from("!2xH4x16s", packed)
        else:
            packed = connection.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
            port, host = struct.unpack_from("!2xH4s", packed)
    except OSError:
        return None
    found = Address(ipaddress.ip_address(host).compressed, port)
    return None if found == connection.getsockname()[:2] else found
