"""What an HTTP tool and its agent say to each other arrives as it was said."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import (
    Exchange,
    World,
    breaker,
    by_hand,
    read_head,
    redaction,
    rules,
    until,
    world,
)
from toolpolicy_sidecar.limits import Limits

TICKET = "/api/v1/tickets/5"


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("/api", "/base"),
        ("/api/", "/base/"),
        ("/api?a=1", "/base?a=1"),
        ("/api?", "/base?"),
        ("/api/a/b/?x=%2F%2f&y=a+b&y=", "/base/a/b/?x=%2F%2f&y=a+b&y="),
        ("/api/caf%C3%A9/a%20b", "/base/caf%C3%A9/a%20b"),
        ("/api/%74ickets/%7Eme", "/base/tickets/~me"),
        ("/api/a%c3%a9", "/base/a%C3%A9"),
        ("/%61pi/x", "/base/x"),
        ("/api/x:batch@1/(a,b)", "/base/x:batch@1/(a,b)"),
        ("/api/.well-known/...", "/base/.well-known/..."),
    ],
)
async def test_targets(w: World, asked: str, sent: str) -> None:
    answer = await (await w.agent()).request("GET", asked)
    assert answer.status == 200
    assert w.tool.seen[0].target == sent
    assert w.tool.seen[0].header("Host") == f"127.0.0.1:{w.tool.port}"


@pytest.mark.parametrize(
    "asked",
    [
        "//api/x",
        "/api//x",
        "/api/./x",
        "/api/x/..",
        "/api/%2E%2e/x",
        "/api/x%2fy",
        "/api/x%5Cy",
        "/api/x\\y",
        "/api/x%00",
        "/api/x;v=1",
        "/api/%",
        "/api/%g0",
        "/api/x#f",
        "/api/x?q#f",
        "/api/{id}",
        "http://127.0.0.1/api/x",
        "http://evil.example/api/x",
        "*",
    ],
)
async def test_targets_that_can_be_read_in_two_ways(w: World, asked: str) -> None:
    agent = await w.agent()
    answer = await agent.request("GET" if asked != "*" else "OPTIONS", asked)
    assert (answer.status, answer.json["reason"]) == (400, "MalformedRequest")
    assert not w.tool.seen


@pytest.mark.parametrize(
    ("asked", "tool"),
    [
        ("/api/v1/tickets/5", "ticket"),
        ("/api/v1/tickets/5/", "ticket"),
        ("/api/v1/%74ickets/a%20b", "ticket"),
        ("/api/v1/tickets/5/x", "*"),
        ("/api/v1/tickets", "*"),
        ("/api/V1/tickets/5", "*"),
    ],
)
async def test_which_tool_it_is(w: World, asked: str, tool: str) -> None:
    assert (await (await w.agent()).request("GET", asked)).status == 200
    assert (await w.recorded_call()).tool == tool


@pytest.mark.parametrize("host", ["good@evil", "good evil", "a/b", "x:y"])
async def test_odd_hosts_are_refused(w: World, host: str) -> None:
    answer = await (await w.agent()).request("GET", TICKET, headers=[("Host", host)])
    assert answer.status == 400
    assert not w.tool.seen


async def test_headers_pass_both_ways_in_order_and_number(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.raw(
            b"HTTP/1.1 203 Somewhat Known\r\nX-B: 1\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nX-B: \xe9\r\n"
            b"Connection: X-Private\r\nX-Private: no\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok"
        )

    w.tool.script = says
    given = [
        ("X-One", "1"),
        ("x-two", "\xe9"),
        ("X-One", "2"),
        ("Origin", "http://o"),
        ("Cookie", "a=b"),
        ("TE", "trailers"),
    ]
    agent = await w.agent()
    answer = await agent.request("GET", TICKET, headers=[*given, ("Connection", "X-Mine"), ("X-Mine", "no")])
    assert answer.status == 203
    assert answer.headers == [
        ("X-B", "1"),
        ("set-cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-B", "\xe9"),
        ("Content-Length", "2"),
    ]
    sent = [header for header in w.tool.seen[0].headers if header[0].lower() != "host"]
    assert sent.pop()[0] == "X-Request-Timeout-Ms"
    assert sent == given[:-1]


async def test_head_and_answers_without_a_body(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        status = {"HEAD": b"200 OK", "DELETE": b"204 No Content", "PUT": b"304 Not Modified"}[
            exchange.seen.method
        ]
        length = b"" if exchange.seen.method == "DELETE" else b"Content-Length: 1000\r\n"
        await exchange.raw(b"HTTP/1.1 " + status + b"\r\n" + length + b"ETag: x\r\n\r\n")

    w.tool.script = says
    agent = await w.agent()
    for method, status, length in (("HEAD", 200, "1000"), ("DELETE", 204, None), ("PUT", 304, "1000")):
        answer = await agent.request(method, "/api/x")
        assert (answer.status, answer.header("Content-Length"), answer.header("ETag")) == (
            status,
            length,
            "x",
        )


async def test_an_answer_is_streamed_as_it_comes(w: World) -> None:
    go_on = asyncio.Event()

    async def says(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await go_on.wait()
        await exchange.raw(b"3\r\ntwo\r\n0\r\n\r\n")

    w.tool.script = says
    agent = await w.agent()
    await agent.send("GET", TICKET)
    await agent.head()
    assert await agent.reader.readexactly(8) == b"3\r\none\r\n"
    go_on.set()
    assert await agent.reader.readexactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"


async def test_a_request_is_streamed_as_it_comes(w: World) -> None:
    """A body of unknown length reaches the tool before it is complete."""
    agent = await w.agent()
    begun = asyncio.Event()

    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, exchange.seen.body)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await read_head(reader)
        assert ("Transfer-Encoding", "chunked") in headers
        assert await reader.readexactly(8) == b"3\r\none\r\n"
        begun.set()
        assert await reader.readexactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    w.tool.script = says
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    w.install(port=server.sockets[0].getsockname()[1])
    await agent.send("POST", TICKET, b"3\r\none\r\n", [("Transfer-Encoding", "chunked")])
    await asyncio.wait_for(begun.wait(), 10)
    await agent.raw(b"3\r\ntwo\r\n0\r\n\r\n")
    assert (await agent.answer()).status == 200
    assert (await w.recorded_call()).request_bytes == 6
    server.close()


async def test_a_large_body_passes_in_bounded_memory() -> None:
    """64 MiB through, both ways, with a few hundred KiB of buffers: nothing is collected."""
    size = 64 * 2**20
    piece = b"x" * 2**16

    async with world(Limits(body_bytes=2 * size)) as w:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            left = size
            while left:
                left -= len(await reader.read(2**16))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // len(piece)):
                writer.write(piece)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        w.install(port=server.sockets[0].getsockname()[1])
        agent = await w.agent()
        tracemalloc.start()
        await agent.send("POST", TICKET, None, [("Content-Length", str(size))])
        for _ in range(size // len(piece)):
            await agent.raw(piece)
        head = await agent.head()
        assert head.header("Content-Length") == str(size)
        left = size
        while left:
            left -= len(await agent.reader.read(2**16))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"\npeak of all Python memory while 2 x 64 MiB passed: {peak / 2**20:.1f} MiB")
        assert peak < 40 * 2**20  # the agent's own reader may hold 2 x 16 MiB
        record = await w.recorded_call()
        assert (record.request_bytes, record.response_bytes) == (size, size)
        server.close()


async def test_a_slow_reader_holds_the_tool_back(w: World) -> None:
    """Back-pressure: an agent that does not read stops the tool's writes."""
    written = 0

    async def says(exchange: Exchange) -> None:
        nonlocal written
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2**28))
        for _ in range(2**12):
            await exchange.raw(b"x" * 2**16)
            written += 2**16

    w.tool.script = says
    reader, writer = await asyncio.open_connection("127.0.0.1", w.port, limit=2**10)
    writer.write(b"GET /api/v1/tickets/5 HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readexactly(10)
    before = -1
    while before != written:
        before = written
        await asyncio.sleep(0.3)
    assert written < 2**26
    writer.transport.abort()
    await until(lambda: w.current.in_flight.requests == 0)
    assert (await w.recorded_call()).reason == "ClientGone"


async def test_a_failure_in_the_middle_of_an_answer_cuts_the_connection(w: World) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await asyncio.sleep(0.05)
        exchange.reset()

    w.tool.script = half
    agent = await w.agent()
    await agent.send("GET", TICKET)
    await agent.head()
    rest = b""
    try:
        while piece := await agent.reader.read(100):
            rest += piece
    except ConnectionError:
        pass
    assert rest == b"3\r\none\r\n"  # and no end of chunks
    record = await w.recorded_call()
    assert (record.outcome, record.reason, record.status) == ("failure", "IncompleteAnswer", 200)


async def test_pipelined_requests_are_answered_in_order(w: World) -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.answer(200, exchange.seen.target.encode())

    w.tool.script = echo
    agent = await w.agent()
    await agent.raw(b"".join(b"GET /api/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)))
    assert [(await agent.answer()).body for _ in range(5)] == [b"/base/%d" % number for number in range(5)]


async def test_old_http_is_answered_and_closed(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n")

    w.tool.script = says
    agent = await w.agent()
    await agent.raw(b"GET /api/x HTTP/1.0\r\n\r\n")
    answer = await agent.answer()
    assert (answer.status, answer.body, answer.header("Connection")) == (200, b"one", "close")
    agent = await w.agent()
    await agent.raw(b"POST /api/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert (await agent.answer()).status == 400
    assert len(w.tool.seen) == 1


async def test_expect_is_answered_when_the_body_is_wanted(w: World) -> None:
    agent = await w.agent()
    await agent.send("POST", TICKET, None, [("Expect", "100-continue"), ("Content-Length", "3")])
    assert (await agent.head()).status == 100
    await agent.raw(b"abc")
    assert (await agent.answer()).status == 200
    assert (w.tool.seen[0].body, w.tool.seen[0].header("Expect")) == (b"abc", None)
    runtime = w.current.runtime
    assert runtime
    runtime.circuit("ticket").impose(by_hand())
    await agent.send("POST", TICKET, None, [("Expect", "100-continue"), ("Content-Length", "3")])
    assert (await agent.answer()).status == 503  # and no body was asked for


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /api/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /api/x HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
        b"GET /api/x HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
        b"GET /api/x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /api/x HTTP/1.1\r\n\r\n",
        b"GET /api/x HTTP/9.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n",
    ],
)
async def test_smuggling_reaches_nobody(w: World, raw: bytes) -> None:
    agent = await w.agent()
    await agent.raw(raw)
    answer = await agent.answer()
    assert (answer.status, answer.json["reason"]) == (400, "MalformedRequest")
    await asyncio.sleep(0.01)
    assert all(seen.target == "/base/x" for seen in w.tool.seen)
    assert not [seen for seen in w.tool.seen if seen.body]
    assert w.recorded.refusals or w.recorded.calls


@pytest.mark.parametrize("body", [None, b"GET /base/evil HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_an_upgrade_to_what_nobody_speaks_is_ignored(w: World, body: bytes | None) -> None:
    agent = await w.agent()
    headers = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")]
    assert (await agent.request("POST", "/api/x", body, headers)).status == 200
    assert w.tool.seen[0].header("Upgrade") is w.tool.seen[0].header("HTTP2-Settings") is None
    assert w.tool.seen[0].body == (body or b"")
    assert (await agent.request("GET", "/api/next")).status == 200
    assert len(w.tool.seen) == 2


@pytest.mark.parametrize("body", [None, b"GET /base/evil HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize("name", ["websocket", "h2c, WebSocket"])
async def test_a_websocket_is_refused(w: World, body: bytes | None, name: str) -> None:
    agent = await w.agent()
    headers = [("Connection", "Upgrade"), ("Upgrade", name), ("Sec-WebSocket-Key", "x")]
    answer = await agent.request("GET", "/api/ws", body, headers)
    assert (answer.status, answer.json["reason"]) == (403, "UpgradeRefused")
    assert "redaction" in answer.json["detail"]
    assert await agent.reader.read() == b""
    assert not w.tool.seen


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("http://127.0.0.1:{port}/base/v2/x?a=1", "/api/v2/x?a=1"),
        ("/base/v2", "/api/v2"),
        ("/elsewhere", "/elsewhere"),
        ("/basement", "/basement"),
        ("https://other.example/base/x", "https://other.example/base/x"),
    ],
)
async def test_redirects_come_back_to_the_sidecar(w: World, location: str, seen: str) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(307, b"", "", Location=location.format(port=w.tool.port))

    w.tool.script = says
    answer = await (await w.agent()).request("GET", "/api/x")
    assert (answer.status, answer.header("Location")) == (307, seen)


async def test_mode_off_touches_nothing(w: World) -> None:
    secret = b'{"a":"sk-canary12345678"}'

    async def echo(exchange: Exchange) -> None:
        await asyncio.sleep(0.05)
        await exchange.answer(500, exchange.seen.body)

    w.tool.script = echo
    w.install(mode="Off", redaction=redaction(), tool_rules=rules(enabled=False, total_ms=10, attempt_ms=10))
    answer = await (await w.agent()).request("POST", TICKET, secret)
    assert (answer.status, answer.body, w.tool.seen[0].body) == (500, secret, secret)
    assert (await w.recorded_call()).reason == "ServerError"


async def test_redaction_of_every_part_of_a_request(w: World) -> None:
    w.install(redaction=redaction())
    agent = await w.agent()
    body = b'{"note": "use sk-canary12345678", "n": [1.0, "sk-canary12345678"]}'
    await agent.request(
        "POST",
        "/api/v1/tickets/sk-canary12345678?k=sk-canary12345678",
        body,
        [("Content-Type", "application/json")],
    )
    seen = w.tool.seen[0]
    assert seen.target == "/base/v1/tickets/%5Bkey%5D?k=%5Bkey%5D"
    assert seen.body == b'{"note": "use [key]", "n": [1.0, "[key]"]}'
    assert (await w.recorded_call()).redacted_request == {"key": 4}
    for kind, sent in (
        ("text/plain", b"a sk-canary12345678"),
        ("application/x-www-form-urlencoded", b"a=sk-canary12345678"),
    ):
        await agent.request("POST", TICKET, sent, [("Content-Type", kind)])
        assert b"canary" not in w.tool.seen[-1].body
        assert b"key" in w.tool.seen[-1].body


@pytest.mark.parametrize(
    ("kind", "body", "clean"),
    [
        ("application/json", b'{"a":"sk-canary12345678","b":1.50}', b'{"a":"[key]","b":1.50}'),
        ("application/problem+json", b'{"a":"sk-canary12345678"}', b'{"a":"[key]"}'),
        ("text/plain", b"a sk-canary12345678 b", b"a [key] b"),
        ("text/html; charset=iso-8859-1", b"\xe9 sk-canary12345678", b"\xe9 [key]"),
        ("", b"plain sk-canary12345678", b"plain [key]"),
    ],
)
@pytest.mark.parametrize("encoded", [False, True])
async def test_redaction_of_answers(w: World, kind: str, body: bytes, clean: bytes, encoded: bool) -> None:
    async def says(exchange: Exchange) -> None:
        assert exchange.seen.header("Accept-Encoding") == "identity"
        if encoded:
            await exchange.answer(404, gzip.compress(body), kind, Content_Encoding="gzip")
        else:
            await exchange.answer(404, body, kind)

    w.tool.script = says
    w.install(redaction=redaction(apply="Response"))
    agent = await w.agent()
    answer = await agent.request("GET", TICKET, headers=[("Accept-Encoding", "gzip, br")])
    assert (answer.status, answer.body) == (404, clean)
    assert answer.header("Content-Encoding") is None
    assert (await w.recorded_call()).redacted_response == {"key": 1}


STACKED = [
    [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")],
    [("Content-Encoding", "gzip"), ("content-encoding", "gzip")],
    [("Content-Encoding", "gzip, gzip")],
    [("Content-Encoding", "br")],
    [("Content-Encoding", "zstd")],
    [("Content-Encoding", "snappy")],
]
TYPES = [
    [("Content-Type", "image/png"), ("Content-Type", "text/plain")],
    [("Content-Type", "text/plain; charset=iso-8859-1"), ("content-type", "application/json")],
    [("Content-Type", "application/x-www-form-urlencoded, application/json")],
]


@pytest.mark.parametrize("headers", [*STACKED, *TYPES])
async def test_a_body_that_is_declared_twice_is_not_vouched_for(
    w: World, headers: list[tuple[str, str]]
) -> None:
    """Of two headers the scanner would read one and the other side the other: a way past it."""
    secret = b'{"a":"\\u0073k-canary12345678"}'
    latin = [("Content-Type", "text/plain; charset=iso-8859-1")] if headers in STACKED else []

    async def says(exchange: Exchange) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in [*latin, *headers])
        packed = gzip.compress(secret)
        head = f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(packed)}\r\n\r\n"
        await exchange.raw(head.encode() + packed)

    w.tool.script = says
    w.install(redaction=redaction())
    agent = await w.agent()
    answer = await agent.request("POST", TICKET, secret, [*latin, *headers])
    assert answer.status in ({415} if headers in STACKED else {400, 422})
    assert answer.json["reason"] in {"UnsupportedEncoding", "RequestUnscannable", "MalformedRequest"}
    assert not w.tool.seen
    answer = await (await w.agent()).request("GET", TICKET)
    reason = "AnswerEncodingUnsupported" if headers in STACKED else "AnswerUnscannable"
    assert (answer.status, answer.json["reason"]) == (502, reason)


async def test_what_cannot_be_scanned_passes_if_the_policy_says_so(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, exchange.seen.body, "image/png")

    w.tool.script = says
    w.install(redaction=redaction(on_unscannable="Pass"))
    answer = await (await w.agent()).request("POST", TICKET, b"\x89PNG\xff", [("Content-Type", "image/png")])
    assert (answer.status, answer.body) == (200, b"\x89PNG\xff")


async def test_event_streams_of_http_tools_are_redacted_event_by_event(w: World) -> None:
    go_on = asyncio.Event()

    async def says(exchange: Exchange) -> None:
        await exchange.events(b"data: sk-cana", b"ry12345678 and\ndata: {}\n\n")
        await go_on.wait()
        await exchange.chunks(b'id: 7\ndata: {"k":"sk-canary12345678"}\n\n')
        await exchange.end()

    w.tool.script = says
    w.install(redaction=redaction())
    agent = await w.agent()
    await agent.send("GET", TICKET)
    await agent.head()
    first = await asyncio.wait_for(agent.reader.readuntil(b"\n\n"), 10)
    assert b"data: [key] and\ndata: {}" in first
    go_on.set()
    assert b'id: 7\ndata: {"k":"[key]"}\n\n' in await agent.reader.readuntil(b"0\r\n\r\n")


@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_texts_that_come_in_pieces_are_redacted_as_a_whole(w: World, size: int) -> None:
    text = b"lorem ipsum sk-canary12345678, dolor " * 20
    pieces = [text[at : at + size] for at in range(0, len(text), size)]

    async def says(exchange: Exchange) -> None:
        if exchange.seen.target.endswith("deltas"):
            await exchange.events(*(b'data: {"delta": "%b"}\n\n' % piece for piece in pieces))
        else:
            await exchange.raw(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            await exchange.chunks(*pieces)
        await exchange.end()

    w.tool.script = says
    w.install(redaction=redaction())
    agent = await w.agent()
    await agent.send("GET", f"{TICKET}?deltas")
    answer = await agent.answer()
    told = "".join(json.loads(event[6:])["delta"] for event in answer.body.decode().split("\n\n") if event)
    assert told.encode() == text.replace(b"sk-canary12345678", b"[key]")
    await agent.send("GET", TICKET)
    assert (await agent.answer()).body == text.replace(b"sk-canary12345678", b"[key]")
    assert [dict(call.redacted_response) for call in w.recorded.calls[:1]] == [{"key": 20}]


async def test_a_silence_ends_what_is_held_back(w: World) -> None:
    go_on = asyncio.Event()

    async def says(exchange: Exchange) -> None:
        await exchange.raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await exchange.chunks(b"the first\n\n")
        await go_on.wait()
        await exchange.chunks(b"the second\n\n")
        await exchange.end()

    w.tool.script = says
    w.install(redaction=redaction())
    agent = await w.agent()
    await agent.send("GET", TICKET)
    await agent.head()
    first = await asyncio.wait_for(agent.reader.readuntil(b"\n\n"), 10)
    assert b"the first" in first
    go_on.set()
    assert b"the second\n\n" in await agent.reader.readuntil(b"0\r\n\r\n")


@pytest.mark.parametrize("target", [TICKET, "/kb"])
async def test_a_body_that_turns_out_to_be_malformed(w: World, target: str) -> None:
    agent = await w.agent()
    await agent.send("POST", target, b"3\r\nabc\r\n", [("Transfer-Encoding", "chunked")])
    await until(lambda: w.current.in_flight.requests == 1)
    await agent.raw(b"zz\r\n")
    answer = await agent.answer()
    assert (answer.status, answer.json["reason"], answer.header("Connection")) == (
        400,
        "MalformedRequest",
        "close",
    )
    assert await agent.reader.read() == b""
    assert [seen for seen in w.tool.seen if seen.body] == []
    if target == TICKET:
        record = await w.recorded_call()
        assert (record.outcome, record.reason) == ("refused", "MalformedRequest")


async def test_an_upload_that_the_agent_breaks_off(w: World) -> None:
    """Neither answered nor held against the tool; the tool sees that its request is not complete."""
    w.install(tool_rules=rules(breaker=breaker(1)))
    agent = await w.agent()
    await agent.send("POST", TICKET, b"3\r\nabc\r\n", [("Transfer-Encoding", "chunked")])
    await until(lambda: w.tool.connections == 1)
    agent.close()
    record = await w.recorded_call()
    assert (record.outcome, record.reason) == ("neutral", "ClientGone")
    assert w.recorded.transitions == []
    assert w.tool.seen == []


async def test_a_slow_upload_is_not_held_against_the_tool(w: World) -> None:
    w.install(tool_rules=rules(total_ms=100, attempt_ms=100, breaker=breaker(1)))
    agent = await w.agent()
    await agent.send("POST", TICKET, b"3\r\nabc\r\n", [("Transfer-Encoding", "chunked")])
    answer = await agent.answer()
    assert (answer.status, answer.json["reason"]) == (504, "TotalTimeout")
    assert (await w.recorded_call()).outcome == "failure"
    assert w.recorded.transitions == []
