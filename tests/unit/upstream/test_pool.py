"""Connections: kept, bounded, closed when they are idle, and never used for two exchanges at once."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest

from tests.unit.upstream.raw_server import HANG_S, OK, Line, RawServer, always_ok, says, until
from toolpolicy_sidecar.upstream.exchange import BodyTooLarge, Request, Response
from toolpolicy_sidecar.upstream.failure import (
    ConnectionReset,
    ConnectRefused,
    ConnectTimedOut,
    UnsendableRequest,
)
from toolpolicy_sidecar.upstream.pool import Pool, PoolLimits


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool()
    yield made
    await made.close()


async def head_of(pool: Pool, request: Request, connect_timeout_s: float = HANG_S) -> Response:
    return await pool.exchange(request, connect_timeout_s=connect_timeout_s)


async def ask(pool: Pool, request: Request, connect_timeout_s: float = HANG_S) -> tuple[int, bytes]:
    response = await head_of(pool, request, connect_timeout_s)
    body = await response.body(2**20)
    response.release()
    return response.status, body


async def test_one_connection_for_one_request_after_the_other(server: RawServer, pool: Pool) -> None:
    for _ in range(5):
        assert await ask(pool, server.request()) == (200, b"ok")
    assert (len(server.lines), pool.open, pool.idle) == (1, 1, 1)


async def test_as_many_connections_as_requests_at_once(server: RawServer, pool: Pool) -> None:
    assert await asyncio.gather(*(ask(pool, server.request()) for _ in range(5))) == [(200, b"ok")] * 5
    assert len(server.lines) == 5
    await asyncio.gather(*(ask(pool, server.request()) for _ in range(5)))
    assert len(server.lines) == 5


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
    ],
    ids=["close", "HTTP/1.0", "to the end of the connection"],
)
async def test_what_the_server_does_not_keep_is_not_kept(
    server: RawServer, pool: Pool, answer: bytes
) -> None:
    async def script(line: Line) -> None:
        await line.head()
        await line.say(answer)

    server.script = script
    for _ in range(2):
        assert await ask(pool, server.request()) == (200, b"ok")
    assert len(server.lines) == 2
    await until(lambda: pool.open == 0)


@pytest.mark.parametrize("more", [b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
async def test_more_than_was_asked_for_is_never_an_answer(server: RawServer, pool: Pool, more: bytes) -> None:
    async def script(line: Line) -> None:
        await line.head()
        await line.say(OK + more)
        await always_ok(line)

    server.script = script
    assert await ask(pool, server.request()) == (200, b"ok")
    assert pool.idle == 0
    assert await ask(pool, server.request()) == (200, b"ok")


async def test_bytes_that_nobody_asked_for_end_an_idle_connection(server: RawServer, pool: Pool) -> None:
    assert await ask(pool, server.request()) == (200, b"ok")
    await server.lines[0].say(OK)
    await until(lambda: pool.open == 0)


async def test_a_connection_that_the_server_has_closed_is_not_used(server: RawServer, pool: Pool) -> None:
    assert await ask(pool, server.request()) == (200, b"ok")
    server.lines[0].writer.close()
    await until(lambda: pool.open == 0)
    assert await ask(pool, server.request()) == (200, b"ok")
    assert len(server.lines) == 2


async def test_idle_connections_are_closed_in_time(server: RawServer) -> None:
    pool = Pool(PoolLimits(idle_s=0.05))
    await asyncio.gather(*(ask(pool, server.request()) for _ in range(3)))
    assert pool.idle == 3
    await until(lambda: pool.open == server.open == 0)  # and nobody asked for one
    await pool.close()


async def test_a_connection_in_use_is_not_idle(server: RawServer) -> None:
    pool = Pool(PoolLimits(idle_s=0.02))
    go_on = asyncio.Event()

    async def script(line: Line) -> None:
        await line.head()
        await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await go_on.wait()
        await line.say(b"ok")
        await line.reader.read()

    response = await head_of(pool, server.request())  # leaves an idle one behind
    await response.body(10)
    response.release()
    server.script = script
    response = await head_of(pool, Request(server.origin, "GET", "/", ()))
    await asyncio.sleep(0.1)
    go_on.set()
    assert await response.body(10) == b"ok"
    await pool.close()


async def test_no_more_idle_connections_than_the_limit(server: RawServer) -> None:
    pool = Pool(PoolLimits(idle_per_origin=2))
    await asyncio.gather(*(ask(pool, server.request()) for _ in range(5)))
    await until(lambda: pool.open == 2)
    assert pool.idle == 2
    await pool.close()


async def test_no_more_connections_than_the_limit(server: RawServer) -> None:
    pool = Pool(PoolLimits(connections_per_origin=2))
    assert await asyncio.gather(*(ask(pool, server.request()) for _ in range(20))) == [(200, b"ok")] * 20
    assert len(server.lines) == 2
    await pool.close()


async def test_who_waits_for_a_connection_is_served_first_come_first_served(server: RawServer) -> None:
    pool = Pool(PoolLimits(connections_per_origin=1))
    order: list[int] = []

    async def numbered(number: int) -> None:
        assert await ask(pool, server.request(target=f"/{number}")) == (200, b"ok")
        order.append(number)

    await asyncio.gather(*(numbered(number) for number in range(20)))
    assert order == list(range(20))
    await pool.close()


async def test_who_waits_for_a_connection_waits_as_long_as_for_connecting(server: RawServer) -> None:
    pool = Pool(PoolLimits(connections_per_origin=1))
    server.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    held = await head_of(pool, server.request())
    with pytest.raises(ConnectTimedOut, match="all 1 connections to it stayed in use for 30 ms"):
        await ask(pool, server.request(), 0.03)
    waiting = asyncio.ensure_future(ask(pool, server.request()))
    await asyncio.sleep(0)
    server.script = always_ok
    held.abort()
    assert await asyncio.wait_for(waiting, HANG_S) == (200, b"ok")
    await pool.close()


async def test_who_leaves_the_queue_passes_its_turn_on(server: RawServer) -> None:
    pool = Pool(PoolLimits(connections_per_origin=1))
    server.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    held = await head_of(pool, server.request())
    first, second = (asyncio.ensure_future(ask(pool, server.request())) for _ in range(2))
    lane = pool._lanes[server.origin]
    await until(lambda: len(lane.waiting) == 2)
    pool._next(lane)
    first.cancel()  # at the moment in which its turn has come
    assert not lane.waiting[0].done()
    await asyncio.sleep(0)
    server.script = always_ok
    held.abort()
    assert await asyncio.wait_for(second, HANG_S) == (200, b"ok")
    await pool.close()


async def test_origins_do_not_share_a_limit_and_are_forgotten(server: RawServer) -> None:
    pool = Pool(PoolLimits(connections_per_origin=1, idle_s=0.02))
    other = Request(server.origin.__class__("http", "127.0.0.2", server.port), "GET", "/", ())
    server.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    held = await head_of(pool, server.request())
    with pytest.raises(ConnectRefused):
        await head_of(pool, other)
    held.abort()
    await until(lambda: not pool._lanes)
    await pool.close()


async def test_a_request_that_cannot_be_sent_takes_no_connection_with_it(server: RawServer) -> None:
    pool = Pool(PoolLimits(connections_per_origin=1))
    evil = (b"a\r\nX-Evil: 1", b"a\n", b"\ra", b"\0")
    for headers in [(b"X-Token", value) for value in evil] + [(name, b"1") for name in evil]:
        with pytest.raises(UnsendableRequest):
            await head_of(pool, server.request(headers=(headers,)))
    with pytest.raises(UnsendableRequest):
        await head_of(pool, server.request(target="/a\r\nHost: evil"))
    assert await ask(pool, server.request()) == (200, b"ok")
    await pool.close()


async def test_a_cancelled_exchange_closes_its_connection(server: RawServer, pool: Pool) -> None:
    server.script = says(b"")
    task = asyncio.ensure_future(ask(pool, server.request()))
    await until(lambda: server.lines)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: pool.open == server.open == 0)


async def test_half_read_is_not_reused(server: RawServer, pool: Pool) -> None:
    response = await head_of(pool, server.request())
    response.release()
    await until(lambda: pool.open == 0)


async def test_a_body_over_the_limit_of_its_reader(server: RawServer, pool: Pool) -> None:
    server.script = says(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
    )
    response = await head_of(pool, server.request())
    with pytest.raises(BodyTooLarge):
        await response.body(5)
    await until(lambda: pool.open == 0)


@pytest.mark.parametrize(
    ("said", "started"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\nContent-Le", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", True),
    ],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_that_ends_too_soon(
    server: RawServer, pool: Pool, said: bytes, started: bool, reset: bool
) -> None:
    """What was sent may have been done: it is told, and nothing is sent again."""

    async def script(line: Line) -> None:
        await line.head()
        await line.say(said)
        if reset:
            await asyncio.sleep(0.02)
            line.reset()

    server.script = script
    with pytest.raises(ConnectionReset) as failed:
        await ask(pool, server.request("POST", body=b"x"))
    assert failed.value.sent
    # A reset may overtake what was said, and then nothing had begun.
    assert failed.value.response_started == started or (reset and not failed.value.response_started)
    assert len(server.lines) == 1


async def test_a_reused_connection_that_fails_is_not_tried_again(server: RawServer, pool: Pool) -> None:
    """The server may have acted on what it read, so that only the policy can say that it may be repeated."""

    async def once(line: Line) -> None:
        await line.head()
        await line.say(OK)
        await line.head()

    server.script = once
    assert await ask(pool, server.request()) == (200, b"ok")
    with pytest.raises(ConnectionReset) as failed:
        await ask(pool, server.request())
    assert failed.value.sent
    assert len(server.lines) == 1


@pytest.mark.parametrize("said", [b"", OK], ids=["closed", "has something to say"])
async def test_an_idle_connection_that_ended_a_moment_ago_is_not_used(
    server: RawServer, pool: Pool, said: bytes
) -> None:
    """Before the event loop has heard of it: nothing was sent, so that another connection can take the call."""
    assert await ask(pool, server.request("POST", body=b"x")) == (200, b"ok")
    with _kernels_end(server.lines[0]) as end:
        if said:
            end.send(said)
        else:
            end.shutdown(socket.SHUT_RDWR)
    assert pool.idle == 1
    assert await ask(pool, server.request("POST", body=b"x")) == (200, b"ok")
    assert len(server.lines) == 2
    await until(lambda: pool.open == 1)


async def test_an_idle_connection_that_is_alive_is_found_behind_those_that_are_not(
    server: RawServer, pool: Pool
) -> None:
    await asyncio.gather(*(ask(pool, server.request()) for _ in range(3)))
    for line in server.lines[1:]:
        with _kernels_end(line) as end:
            end.shutdown(socket.SHUT_RDWR)
    assert pool.idle == 3
    assert await ask(pool, server.request()) == (200, b"ok")
    assert len(server.lines) == 3


def _kernels_end(line: Line) -> socket.socket:
    """What is done to it happens at once, and not at the event loop's next turn."""
    return socket.socket(fileno=os.dup(line.writer.get_extra_info("socket").fileno()))


async def test_a_server_that_hangs_up_at_once_holds_no_place(server: RawServer) -> None:
    pool = Pool(PoolLimits(connections_per_origin=1))

    async def never(line: Line) -> None:
        line.reset()

    server.script = never
    for _ in range(20):
        with pytest.raises((ConnectionReset, ConnectRefused)):
            await ask(pool, server.request())
    await until(lambda: pool.open == 0 and not pool._lanes)
    await pool.close()


async def test_closing_the_pool_ends_what_is_in_flight(server: RawServer, pool: Pool) -> None:
    server.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    response = await head_of(pool, server.request())
    await pool.close()
    with pytest.raises(ConnectionReset):
        await asyncio.wait_for(response.read(), HANG_S)
