"""What goes out is what was asked for, and what comes back is one answer or a failure with a name."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from tests.unit.upstream.raw_server import HANG_S, OK, Line, RawServer, always_ok, says, until
from toolpolicy_sidecar.upstream.connection import HEADER_BYTES, HIGH_WATER_BYTES
from toolpolicy_sidecar.upstream.exchange import Request, Response
from toolpolicy_sidecar.upstream.failure import (
    AnswerHeaderTooLarge,
    ConnectionReset,
    MalformedAnswer,
    UpstreamFailure,
)
from toolpolicy_sidecar.upstream.pool import Pool

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool()
    yield made
    await made.close()


async def ask(pool: Pool, request: Request) -> tuple[Response, bytes]:
    async with asyncio.timeout(HANG_S):
        response = await pool.exchange(request, connect_timeout_s=HANG_S)
        body = await response.body(2**24)
    response.release()
    return response, body


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(0)


# Out


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("GET", None, b""),
        ("GET", b"", b""),
        ("GET", b"x", b"Content-Length: 1\r\n\r\nx"),
        ("POST", b"", b"Content-Length: 0"),
        ("POST", b"abc", b"Content-Length: 3\r\n\r\nabc"),
        ("PUT", None, b""),
        ("DELETE", b"", b""),
    ],
)
async def test_framing_of_what_is_known(
    server: RawServer, pool: Pool, method: str, body: bytes | None, framing: bytes
) -> None:
    """The caller's own framing goes nowhere."""
    headers = ((b"Content-Length", b"99"), (b"Transfer-Encoding", b"gzip"), (b"X-A", b"1"))
    got = await sent(server, pool, server.request(method, "/p?q", headers, body))
    head = b"%b /p?q HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-A: 1\r\n" % (method.encode(), server.port)
    assert got == (
        head + framing if b"\r\n\r\n" in framing else head + (framing and framing + b"\r\n") + b"\r\n"
    )


async def test_framing_of_a_stream(server: RawServer, pool: Pool) -> None:
    request = server.request("POST", body=pieces(b"one", b"", b"three"))
    got = await sent(server, pool, request, ends=b"0\r\n\r\n")
    assert got.endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n")
    request = server.request("POST", body=pieces(b"abc", b"def"), length=6)
    got = await sent(server, pool, request, ends=b"abcdef")
    assert got.endswith(b"Content-Length: 6\r\n\r\nabcdef")
    assert b"ransfer-" not in got


async def test_nothing_between_neighbours_goes_further(server: RawServer, pool: Pool) -> None:
    headers = (
        (b"Host", b"evil"),
        (b"Connection", b"X-Mine, close"),
        (b"connection", b"x-more"),
        (b"X-Mine", b"1"),
        (b"X-More", b"1"),
        (b"Upgrade", b"websocket"),
        (b"Proxy-Authorization", b"secret"),
        (b"TE", b"trailers"),
        (b"Expect", b"100-continue"),
        (b"X-Kept", b"1"),
        (b"x-kept", b"2"),
    )
    got = await sent(server, pool, server.request(headers=headers))
    assert got == b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Kept: 1\r\nx-kept: 2\r\n\r\n" % server.port


async def sent(server: RawServer, pool: Pool, request: Request, ends: bytes = b"") -> bytes:
    """What arrived, byte for byte."""
    got = bytearray()

    async def script(line: Line) -> None:
        while b"\r\n\r\n" not in got or not got.endswith(ends):
            got.extend(await line.reader.read(65536))
        await asyncio.sleep(0.01)  # more, if there were more
        await line.say(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    server.script = script
    await ask(pool, request)
    return bytes(got)


async def test_a_body_that_breaks_off_is_no_whole_one(server: RawServer, pool: Pool) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ValueError("the agent hung up")

    got = bytearray()

    async def script(line: Line) -> None:
        while data := await line.reader.read(65536):
            got.extend(data)

    server.script = script
    with pytest.raises(UpstreamFailure, match="the agent hung up"):
        await ask(pool, server.request("POST", body=broken()))
    await until(lambda: server.open == 0)
    assert not got.endswith(b"0\r\n\r\n")


async def test_a_server_that_does_not_read_holds_the_body_back(server: RawServer, pool: Pool) -> None:
    """One that answers meanwhile is heard, and its connection is not used again."""
    given = 0
    answer = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 2**16
            yield b"x" * 2**16

    async def script(line: Line) -> None:
        await line.head()
        cast("asyncio.Transport", line.writer.transport).pause_reading()
        await answer.wait()
        await line.say(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(HANG_S)

    server.script = script
    asking = asyncio.ensure_future(ask(pool, server.request("POST", body=endless())))
    before = -1
    async with asyncio.timeout(HANG_S):
        while given != before:
            before = given
            await asyncio.sleep(0.1)
    assert 0 < given < 2**25  # what the kernel takes, and one buffer
    answer.set()
    assert (await asking)[0].status == 413
    await until(lambda: pool.open == 0)


# In


async def test_a_reader_that_is_slow_holds_the_server_back(server: RawServer, pool: Pool) -> None:
    said = 0

    async def script(line: Line) -> None:
        nonlocal said
        await line.head()
        await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**30)
        while True:
            await line.say(b"x" * 2**16)
            said += 2**16

    server.script = script
    response = await pool.exchange(server.request(), connect_timeout_s=HANG_S)
    before = -1
    async with asyncio.timeout(HANG_S):
        while said != before:
            before = said
            await asyncio.sleep(0.1)
    connection = next(iter(pool._connections))
    assert connection._buffered <= HIGH_WATER_BYTES + 2**18  # and one read of the loop
    await response.read()
    response.abort()


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (OK, 200, b"ok"),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
        (CHUNKED + b"2;a=b;c\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304, b""),
        (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 16 + OK, 200, b"ok"),
    ],
)
async def test_one_answer(  # noqa: PLR0917 -- the case
    server: RawServer, pool: Pool, raw: bytes, status: int, body: bytes, size: int
) -> None:
    """However it is cut: interim answers and trailers are dropped, and the connection is kept."""

    async def script(line: Line) -> None:
        for _ in range(2):
            await line.head()
            for at in range(0, len(raw), size):
                await line.say(raw[at : at + size])
                await asyncio.sleep(0)
        await line.reader.read()

    server.script = script
    for _ in range(2):
        response, said = await ask(pool, server.request())
        assert (response.status, said) == (status, body)
        assert response.header(b"link") is response.header(b"x-trailer") is None
    assert len(server.lines) == 1


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"%b12\r\n\r\nanother one.", b"another one."),
        (b"%b0\r\n\r\n", b""),
        (b"%b04\r\n\r\nfour", b"four"),
        (b"%b4\r\n\r\nfive!", b"five"),  # and the connection is not used again
        (b"%b6\r\n\r\nfour", ConnectionReset),
        (b"%b\r\n\r\nfour", MalformedAnswer),
        (b"%b4\r\nContent-Length: 4\r\n\r\nfour", MalformedAnswer),
        (b"%b4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n", MalformedAnswer),
        (b"HTTP/1.1 100 Continue\r\n\r\n%b4\r\n\r\nfour", b"four"),
    ],
)
@pytest.mark.parametrize("cut", [0, 70])
async def test_an_answer_like_those_before(
    server: RawServer, pool: Pool, raw: bytes, outcome: bytes | type[Exception], cut: int
) -> None:
    """Its head is known by now, all but the length."""
    start = b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 20:00:00 GMT\r\nX-A: b\r\nContent-Length: "
    last = raw.replace(b"%b", start)

    async def script(line: Line) -> None:
        for _ in range(3):  # read, kept, known
            await line.head()
            await line.say(start + b"4\r\n\r\nfour")
        await line.head()
        await line.say(last[:cut])
        await asyncio.sleep(0.01)
        await line.say(last[cut:])

    server.script = script
    for _ in range(3):
        response, said = await ask(pool, server.request())
        assert (response.length, said, len(response.headers)) == (4, b"four", 2)
    if isinstance(outcome, bytes):
        response, said = await ask(pool, server.request())
        assert (said, response.length) == (outcome, len(outcome))
        assert response.headers[1] == (b"X-A", b"b")
    else:
        with pytest.raises(outcome):
            await ask(pool, server.request())


async def test_an_answer_to_head_has_no_body(server: RawServer, pool: Pool) -> None:
    server.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    response, body = await ask(pool, server.request("HEAD"))
    assert (response.status, response.length, body) == (200, 1000, b"")


async def test_the_end_of_the_connection_may_be_the_end_of_the_answer(server: RawServer, pool: Pool) -> None:
    async def script(line: Line) -> None:
        await line.head()
        await line.say(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n\r\nall ")
        await asyncio.sleep(0.01)
        await line.say(b"of it")

    server.script = script
    response, body = await ask(pool, server.request())
    assert body == b"all of it"
    assert response.headers == ((b"X-A", b"1"), (b"X-A", b"2"))


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX\0A: a\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n folded\r\n\r\nok",
        b"HTTP/1.1 200 OK\rX: y\r\n\r\nok",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        CHUNKED + b"2\r\nokXX0\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"fffffffffffffffff\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
    ],
)
async def test_what_is_no_answer(server: RawServer, pool: Pool, raw: bytes) -> None:
    server.script = says(raw)
    with pytest.raises(MalformedAnswer):
        await ask(pool, server.request())
    await until(lambda: pool.open == 0)
    server.script = always_ok
    assert (await ask(pool, server.request()))[1] == b"ok"


@pytest.mark.parametrize(
    "begin",
    [
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",
        CHUNKED + b"2;",
        CHUNKED + b"0\r\nX: ",
    ],
    ids=["status", "name", "value", "chunk extension", "trailer"],
)
async def test_a_line_without_an_end(server: RawServer, pool: Pool, begin: bytes) -> None:
    """The parser would keep all of it."""
    said = 0

    async def script(line: Line) -> None:
        nonlocal said
        await line.head()
        await line.say(begin)
        while True:
            await line.say(b"a" * 4096)
            await asyncio.sleep(0)
            said += 4096

    server.script = script
    with pytest.raises(AnswerHeaderTooLarge):
        await ask(pool, server.request())
    assert said < 100 * HEADER_BYTES


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\n", CHUNKED + b"0\r\n"], ids=["headers", "trailers"])
async def test_headers_without_an_end(server: RawServer, pool: Pool, begin: bytes) -> None:
    async def script(line: Line) -> None:
        await line.head()
        await line.say(begin)
        while True:
            await line.say(b"X-A: 1\r\n" * 100)
            await asyncio.sleep(0)

    server.script = script
    with pytest.raises(AnswerHeaderTooLarge):
        await ask(pool, server.request())


@pytest.mark.parametrize(
    ("said", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", b"ok"),
        (CHUNKED + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n", None),
        (CHUNKED + b"2\r\nok\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", None),
    ],
    ids=["length", "chunk", "chunks", "chunks without an end", "half of it", "no body"],
)
async def test_a_body_that_came_with_the_head_need_not_be_pulled(
    server: RawServer, pool: Pool, said: bytes, whole: bytes | None
) -> None:
    server.script = says(said)
    response = await pool.exchange(server.request(), connect_timeout_s=HANG_S)
    assert response.at_once() == whole
    if whole is not None:
        assert await response.read() == b""
        response.release()
        assert pool.idle == 1
    response.abort()


async def test_a_large_body_is_pulled(server: RawServer, pool: Pool) -> None:
    """The server may be held up for it, and whoever pulls lets it go on."""
    body = b"x" * 2 * HIGH_WATER_BYTES
    server.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    response = await pool.exchange(server.request(), connect_timeout_s=HANG_S)
    assert response.at_once() is None
    assert await response.body(len(body)) == body
    response.release()
    assert pool.idle == 1
