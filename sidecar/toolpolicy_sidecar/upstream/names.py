"""From a host's name to its addresses, as /etc/hosts and DNS have it, remembered for as long as DNS allows."""

import asyncio
import ipaddress
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pycares

LOOKUPS_REMEMBERED = 4096
"""After so many lookups all is forgotten: whoever invents names must not fill the memory."""


class NoAddress(Exception):  # noqa: N818 -- names what happened
    """The message says why."""


class Names(Protocol):
    async def addresses(self, host: str) -> list[str]:
        """IPv6 and IPv4, the most promising first; never empty. Raises NoAddress."""
        ...

    def close(self) -> None: ...


class SystemNames:
    """By c-ares, which reads what glibc reads (/etc/hosts, nameservers, search list and ndots of /etc/resolv.conf, also
    when they change), asks for A and AAAA at the same time, and keeps answers and denials for their TTL, at most an
    hour. getaddrinfo has no TTL and holds a thread for each name."""

    def __init__(self, **options: Any) -> None:
        """`options`: of `pycares.Channel`, in the place of what /etc/resolv.conf says."""
        self._options = options
        self._channel: pycares.Channel | None = None
        self._lookups = 0

    async def addresses(self, host: str) -> list[str]:
        if _is_address(host):
            return [host]
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def settle(result: "pycares.AddrInfoResult | None", error: int | None) -> None:
            if found.done():
                return
            addresses = _addresses(result)
            if addresses:
                found.set_result(addresses)
            else:
                found.set_exception(NoAddress(_why(error)))

        def answered(result: "pycares.AddrInfoResult | None", error: int | None) -> None:  # on c-ares' thread
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result, error)

        self._open().getaddrinfo(host, None, callback=answered)
        return await found

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _open(self) -> "pycares.Channel":
        """For one lookup. Not before the first: servers that are known by their addresses need none of it."""
        self._lookups += 1
        if self._lookups > LOOKUPS_REMEMBERED:
            self._channel, self._lookups = None, 0  # it goes once nobody waits for it any more
        if self._channel is None:
            import pycares  # noqa: PLC0415 -- see above

            self._channel = pycares.Channel(**self._options)
        return self._channel


def _addresses(result: "pycares.AddrInfoResult | None") -> list[str]:
    """Each once."""
    nodes = result.nodes if result is not None else []
    return list(dict.fromkeys(_text(node.addr[0]) for node in nodes))


def _text(address: str | bytes) -> str:
    return address.decode("ascii") if isinstance(address, bytes) else address


def _why(error: int | None) -> str:
    import pycares.errno  # noqa: PLC0415 -- see `_open`

    return str(pycares.errno.strerror(error)) if error else "DNS has no address for it"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
