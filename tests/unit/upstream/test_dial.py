"""The first address that answers has the call, and none is dialled that was not checked."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from tests.unit.upstream.raw_server import HANG_S, RawServer, raw_server
from toolpolicy_sidecar.upstream.dial import NEXT_ADDRESS_S, dial
from toolpolicy_sidecar.upstream.failure import AddressRefused, ConnectRefused, NameNotResolved
from toolpolicy_sidecar.upstream.names import NoAddress
from toolpolicy_sidecar.upstream.origin import Origin


class Told:
    """Names as a test tells them."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = list(addresses)

    async def addresses(self, host: str) -> list[str]:  # noqa: ARG002 -- it is always the same
        if not self._addresses:
            raise NoAddress("no such name")
        return self._addresses

    def close(self) -> None:
        """Nothing is open."""


async def dialled(origin: Origin, names: Told, **more: object) -> str:
    """The address that was."""
    async with asyncio.timeout(HANG_S):
        transport, _ = await dial(origin, asyncio.Protocol, names, tls=None, **more)  # type: ignore[arg-type]
    address: str = transport.get_extra_info("peername")[0]
    nodelay = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert nodelay
    transport.abort()
    return address


@pytest.fixture
def hole(server: RawServer) -> Iterator[str]:
    """An address that takes no connection and refuses none: its queue is full."""
    listening = socket.socket()
    listening.bind(("127.0.0.3", server.port))
    listening.listen(0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.settimeout(0)
        one.connect_ex(("127.0.0.3", server.port))
        waiting.append(one)
    yield "127.0.0.3"
    for one in (*waiting, listening):
        one.close()


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next(
    server: RawServer, hole: str
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await dialled(Origin("http", "kb", server.port), Told(hole, "127.0.0.1")) == "127.0.0.1"
    assert loop.time() - began >= NEXT_ADDRESS_S * 0.9  # it had its chance


async def test_an_address_that_refuses_is_passed_over(server: RawServer) -> None:
    told = Told("127.0.0.2", "::1", "127.0.0.1")
    assert await dialled(Origin("http", "kb", server.port), told) == "127.0.0.1"


async def test_one_family_alone_may_answer() -> None:
    async with raw_server("::1") as six:
        told = Told("127.0.0.2", "127.0.0.4", "127.0.0.5", "::1")
        assert await dialled(Origin("http", "kb", six.port), told) == "::1"


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        origin = Origin("http", "kb", unused.getsockname()[1])
        for told in (Told("127.0.0.1"), Told("127.0.0.1", "127.0.0.2")):
            with pytest.raises(ConnectRefused) as failed:
                await dialled(origin, told)
            assert not failed.value.sent


async def test_no_address() -> None:
    with pytest.raises(NameNotResolved, match="no such name"):
        await dialled(Origin("http", "kb", 80), Told())


async def test_one_forbidden_address_refuses_them_all(server: RawServer) -> None:
    def check(origin: Origin, address: str) -> str | None:
        return "forbidden" if address == "169.254.169.254" else None

    with pytest.raises(AddressRefused, match="forbidden"):
        await dialled(Origin("http", "kb", server.port), Told("127.0.0.1", "169.254.169.254"), check=check)
    assert server.lines == []


async def test_giving_up_leaves_no_socket_behind(hole: str, server: RawServer) -> None:
    """ResourceWarning would fail it."""
    task = asyncio.ensure_future(dialled(Origin("http", "kb", server.port), Told(hole, hole)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
