"""A DNS server on loopback that says what its zone says, and keeps what it was asked."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from toolpolicy_sidecar.upstream.names import SystemNames

A, AAAA, SOA = 1, 28, 6
SERVFAIL, NXDOMAIN = 2, 3


class NameServer(asyncio.DatagramProtocol):
    """`zone`: addresses of a name, with what TTL (seconds); `then`: from the second A query on. Of a name in `failing`,
    AAAA is SERVFAIL. Names that are not there are denied for `denial_s`."""

    def __init__(self) -> None:
        self.zone: dict[str, tuple[int, list[str]]] = {}
        self.then: dict[str, tuple[int, list[str]]] = {}
        self.failing: set[str] = set()
        self.denial_s = 60
        self.silent = False
        self.asked: list[tuple[str, int]] = []
        self._known: set[tuple[bytes, str, int]] = set()

    def names(self) -> list[str]:
        """Those of A queries, in order."""
        return [name for name, kind in self.asked if kind == A]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        question = data[12 : at + 5]
        (kind,) = struct.unpack("!H", data[at + 1 : at + 3])
        name = ".".join(labels).lower()
        if (data[:2], name, kind) not in self._known:  # else it was sent again, since we were slow
            self._known.add((data[:2], name, kind))
            self.asked.append((name, kind))
        if self.silent:
            return
        code, answers, authority = self._answer(name, kind)
        head = data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(answers), len(authority), 0)
        self._transport.sendto(head + question + b"".join(answers + authority), addr)

    def _answer(self, name: str, kind: int) -> tuple[int, list[bytes], list[bytes]]:
        soa = b"\x02ns\x00\x02me\x00" + struct.pack("!IIIII", 1, 60, 60, 60, self.denial_s)
        denial = b"\x00" + struct.pack("!HHIH", SOA, 1, self.denial_s, len(soa)) + soa
        if name not in self.zone:
            return NXDOMAIN, [], [denial]
        if name in self.failing and kind == AAAA:
            return SERVFAIL, [], []
        again = name in self.then and self.names().count(name) > 1
        ttl, addresses = (self.then if again else self.zone)[name]
        family = {A: socket.AF_INET, AAAA: socket.AF_INET6}.get(kind)
        packed = [
            socket.inet_pton(family, address)
            for address in addresses
            if family is not None and (":" in address) == (family == socket.AF_INET6)
        ]
        answers = [b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data for data in packed]
        return 0, answers, [] if answers else [denial]


@asynccontextmanager
async def name_server(
    search: tuple[str, ...] = (), ndots: int = 1
) -> AsyncIterator[tuple[NameServer, SystemNames]]:
    """And who asks it."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    names = SystemNames(servers=[f"127.0.0.1:{port}"], domains=list(search), ndots=ndots)
    try:
        yield server, names
    finally:
        names.close()
        transport.close()
