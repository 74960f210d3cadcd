"""From an origin to a connected socket, and from what can go wrong on the way to a failure with a name."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from aiohappyeyeballs import start_connection
from aiohappyeyeballs.types import AddrInfoType

from toolpolicy_sidecar.upstream.failure import AddressRefused, ConnectRefused, NameNotResolved, TlsFailed
from toolpolicy_sidecar.upstream.names import Names, NoAddress
from toolpolicy_sidecar.upstream.origin import Origin

P = TypeVar("P", bound=asyncio.BaseProtocol)

Check = Callable[[Origin, str], str | None]
"""Of an origin and one of its addresses: why it must not be dialled; None: it may."""

NEXT_ADDRESS_S = 0.25
"""An address that has not answered for so long is tried beside the next one (RFC 8305, section 5)."""


async def dial(
    origin: Origin,
    factory: Callable[[], P],
    names: Names,
    *,
    tls: ssl.SSLContext | None,
    check: Check | None = None,
) -> tuple[asyncio.Transport, P]:
    """To the address that answers first. With `check`, the address that was checked is the one that is dialled: the
    name is resolved once, and one forbidden address among several refuses them all. Raises UpstreamFailure; time is
    the caller's business."""
    addresses = await _resolved(origin, names)
    if check is not None:
        for address in addresses:
            why = check(origin, address)
            if why is not None:
                raise AddressRefused(origin, why)
    try:
        connected = await start_connection(
            [_info(address, origin.port) for address in addresses],
            happy_eyeballs_delay=NEXT_ADDRESS_S,
            interleave=1,
        )
    except TimeoutError:
        raise
    except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError for what a socket cannot do
        raise ConnectRefused(origin, getattr(error, "strerror", None) or str(error)) from None
    try:
        return await asyncio.get_running_loop().create_connection(
            factory, sock=connected, ssl=tls, server_hostname=origin.tls_name if tls else None
        )
    except ssl.SSLError as error:
        raise TlsFailed(origin, str(error.reason or error)) from None
    except TimeoutError:
        raise
    except OSError as error:
        raise ConnectRefused(origin, error.strerror or str(error)) from None


async def _resolved(origin: Origin, names: Names) -> list[str]:
    try:
        return await names.addresses(origin.host)
    except NoAddress as error:
        raise NameNotResolved(origin, str(error)) from None


def _info(address: str, port: int) -> AddrInfoType:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)
