"""What is written in one turn of the loop leaves together, in order, and before the connection is closed."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import uvloop

from toolpolicy_sidecar.in_flight import InFlight
from toolpolicy_sidecar.outgoing import HELD_BYTES, Outgoing


class Ends(NamedTuple):
    out: Outgoing
    in_flight: InFlight
    transport: asyncio.Transport
    peer: socket.socket

    def received(self) -> bytes:
        """What has come by now."""
        try:
            return self.peer.recv(1 << 20)
        except BlockingIOError:
            return b""


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    loop = asyncio.get_running_loop()
    ours, peer = socket.socketpair()
    peer.settimeout(0)
    in_flight = InFlight()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    yield Ends(Outgoing(transport, loop, in_flight), in_flight, transport, peer)
    transport.abort()
    peer.close()


async def test_a_turn_is_one_write(ends: Ends) -> None:
    for piece in (b"HTTP/1.1 200 OK\r\n\r\n", bytearray(b"5\r\n"), memoryview(b"hello"), b"\r\n"):
        ends.out.write(piece)
    assert ends.received() == b""
    await asyncio.sleep(0)
    assert ends.received() == b"HTTP/1.1 200 OK\r\n\r\n5\r\nhello\r\n"


async def test_the_message_of_a_call_that_is_alone_does_not_wait_for_the_end_of_the_turn(ends: Ends) -> None:
    ends.in_flight.requests, ends.in_flight.pushing = 3, 2  # two streams wait for what a server may say
    ends.out.message(b"HTTP/1.1 200 OK\r\n\r\n", b"hello")
    assert ends.received() == b"HTTP/1.1 200 OK\r\n\r\nhello"


def test_nor_for_the_end_of_what_is_ready_to_run() -> None:
    async def said() -> bytes:
        ours, peer = socket.socketpair()
        peer.settimeout(0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        Outgoing(transport, loop, InFlight()).message(b"HTTP/1.1 200 OK\r\n\r\n", b"hello")
        with peer:
            received = peer.recv(1 << 20)
        transport.abort()
        return received

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(said()) == b"HTTP/1.1 200 OK\r\n\r\nhello"


async def test_beside_others_it_does(ends: Ends) -> None:
    ends.in_flight.requests = 2
    ends.out.message(b"HTTP/1.1 200 OK\r\n\r\n", b"hello")
    assert ends.received() == b""
    await asyncio.sleep(0)
    assert ends.received() == b"HTTP/1.1 200 OK\r\n\r\nhello"


async def test_a_message_stays_behind_what_waits(ends: Ends) -> None:
    ends.out.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    ends.out.message(b"HTTP/1.1 200 OK\r\n\r\n", b"hello")
    assert ends.received() == b""
    await asyncio.sleep(0)
    assert ends.received() == b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello"


async def test_what_the_caller_does_with_its_buffer_afterwards_is_its_own_business(ends: Ends) -> None:
    buffer = bytearray(b"said")
    ends.out.write(buffer)
    buffer[:] = b"lies"
    await asyncio.sleep(0)
    assert ends.received() == b"said"


async def test_much_is_not_held_back_and_stays_behind_what_came_before(ends: Ends) -> None:
    ends.out.write(b"head ")
    ends.out.write(b"x" * (HELD_BYTES + 1))
    assert ends.received().startswith(b"head xxx")


async def test_little_by_little_no_more_is_held_than_is_allowed(ends: Ends) -> None:
    for _ in range(3):
        ends.out.write(b"y" * (HELD_BYTES // 2))
    assert ends.received() == b"y" * (HELD_BYTES // 2 * 2)


async def test_closing_comes_after_what_was_written(ends: Ends) -> None:
    ends.out.write(b"the last words")
    ends.out.close()
    await asyncio.sleep(0)
    assert ends.received() == b"the last words"


async def test_who_hung_up_gets_nothing_and_nothing_breaks(ends: Ends) -> None:
    ends.out.write(b"too late")
    ends.transport.abort()
    await asyncio.sleep(0.01)
    ends.out.write(b"and later")
    ends.out.write(b"z" * (HELD_BYTES + 1))
    await asyncio.sleep(0.01)
    assert ends.received() == b""
