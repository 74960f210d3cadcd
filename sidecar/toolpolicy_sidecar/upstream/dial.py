"""From an origin to a connected socket, and from what can go wrong on the way to a failure with a name."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from toolpolicy_sidecar.upstream.failure import AddressRefused, ConnectRefused, NameNotResolved, TlsFailed
from toolpolicy_sidecar.upstream.origin import Origin

P = TypeVar("P", bound=asyncio.BaseProtocol)

Check = Callable[[Origin, str], str | None]
"""Of an origin and one of its addresses: why it must not be dialled; None: it may."""


async def dial(
    origin: Origin, factory: Callable[[], P], *, tls: ssl.SSLContext | None, check: Check | None = None
) -> tuple[asyncio.Transport, P]:
    """With `check`, the address that was checked is the one that is dialled: the name is resolved once, and one
    forbidden address among several refuses them all. Raises UpstreamFailure; time is the caller's business."""
    try:
        if check is None:
            return await _connected(origin, origin.host, factory, tls)
        addresses = await _checked(origin, check)
        for address in addresses[:-1]:
            try:
                return await _connected(origin, address, factory, tls)
            except ssl.SSLError:
                raise
            except OSError:
                continue
        return await _connected(origin, addresses[-1], factory, tls)
    except socket.gaierror as error:
        raise NameNotResolved(origin, str(error.strerror or error)) from None
    except ssl.SSLError as error:
        raise TlsFailed(origin, str(error.reason or error)) from None
    except TimeoutError:
        raise
    except OSError as error:
        raise ConnectRefused(origin, error.strerror or str(error)) from None


async def _connected(
    origin: Origin, host: str, factory: Callable[[], P], tls: ssl.SSLContext | None
) -> tuple[asyncio.Transport, P]:
    name = origin.tls_name if tls else None
    return await asyncio.get_running_loop().create_connection(
        factory, host, origin.port, ssl=tls, server_hostname=name
    )


async def _checked(origin: Origin, check: Check) -> list[str]:
    """Never empty. Raises AddressRefused, socket.gaierror."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        why = check(origin, address)
        if why is not None:
            raise AddressRefused(origin, why)
    return addresses
