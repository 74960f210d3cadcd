"""CONNECT to hosts that no policy names: bytes both ways, ends, errors and limits."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.unit.datapath.loopback import HANG_S, Agent, Answer, until
from tests.unit.forward.proxied import Proxied, proxied
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.tunnel import BUFFER_BYTES, Tunnel

Far = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MIB = 1024 * 1024


@asynccontextmanager
async def far(serve: Far) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def connect(p: Proxied, port: int, host: str = "127.0.0.1", early: bytes = b"") -> tuple[Agent, Answer]:
    agent = await p.agent()
    await agent.raw(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() + early)
    return agent, await agent.head()


async def read(agent: Agent, count: int) -> bytes:
    async with asyncio.timeout(HANG_S):
        return await agent.reader.readexactly(count)


async def test_bytes_go_both_ways_untouched(p: Proxied) -> None:
    async with far(echo) as port:
        agent, answer = await connect(p, port)
        assert (answer.status, answer.headers) == (200, [])
        sent = bytes(range(256)) * 4096
        agent.writer.write(sent)
        assert await read(agent, len(sent)) == sent
        assert p.forward.tunnels.open == 1
        agent.close()
        await until(lambda: p.w.recorded.passed)
        record = p.w.recorded.passed[0]
        assert (record.via, record.destination, record.error) == ("Tunnel", f"127.0.0.1:{port}", None)
        assert (record.sent_bytes, record.received_bytes) == (len(sent), len(sent))
        assert p.forward.tunnels.open == 0
        await until(lambda: not p.forward._http.open)  # nothing of it is left


async def test_what_came_with_connect_is_not_lost(p: Proxied) -> None:
    async with far(echo) as port:
        agent, _ = await connect(p, port, early=b"early")
        assert await read(agent, 5) == b"early"


async def test_one_side_may_end_before_the_other(p: Proxied) -> None:
    async def answers_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read()
        writer.write(everything.upper())
        await writer.drain()

    async with far(answers_at_the_end) as port:
        agent, _ = await connect(p, port)
        agent.writer.write(b"question")
        agent.writer.write_eof()
        async with asyncio.timeout(HANG_S):
            assert await agent.reader.read() == b"QUESTION"


async def test_the_far_side_may_end_first(p: Proxied) -> None:
    heard = asyncio.Event()

    async def ends_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"greeting")
        writer.write_eof()
        assert await reader.read() == b"late"
        heard.set()

    async with far(ends_first) as port:
        agent, _ = await connect(p, port)
        async with asyncio.timeout(HANG_S):
            assert await agent.reader.read() == b"greeting"
            agent.writer.write(b"late")
            agent.writer.write_eof()
            await heard.wait()


async def test_a_side_that_does_not_read_holds_the_other(p: Proxied) -> None:
    """What neither side has is bounded: by our buffers and the kernel's."""
    written = 0

    async def pours(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        for _ in range(16):
            writer.write(b"x" * MIB)
            await writer.drain()
            written += MIB

    async with far(pours) as port:
        agent = await p.agent()
        agent.writer.transport.pause_reading()  # type: ignore[attr-defined] # of the transport as it is
        await agent.raw(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await until(lambda: p.forward.tunnels.open and written)
        (tunnel,) = p.forward.tunnels._open
        await until(lambda: tunnel.near.writing_paused)
        assert tunnel.near.transport
        assert tunnel.near.transport.get_write_buffer_size() < BUFFER_BYTES + 512 * 1024
        agent.writer.transport.resume_reading()  # type: ignore[attr-defined] # the same
        assert (await agent.head()).status == 200
        assert len(await read(agent, 16 * MIB)) == 16 * MIB


@pytest.mark.parametrize("ending", ["open", "ended", "gone"])
async def test_what_the_far_side_says_before_the_tunnel_is_joined_is_not_lost(ending: str) -> None:
    """A server that greets, and may be gone before the agent's end is there."""
    near, agents = socket.socketpair()
    servers, far_end = socket.socketpair()
    loop = asyncio.get_running_loop()
    tunnel = Tunnel(60)
    servers.sendall(b"greeting")
    if ending != "open":
        servers.shutdown(socket.SHUT_WR)
    await loop.create_connection(lambda: tunnel.far, sock=far_end)
    await until(lambda: tunnel.far.held)
    if ending == "gone" and tunnel.far.transport:
        tunnel.far.transport.abort()
        await until(lambda: tunnel.far.gone)
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
    transport.pause_reading()
    tunnel.join(transport, b"early")
    reader, writer = await asyncio.open_connection(sock=agents)
    async with asyncio.timeout(HANG_S):
        assert await reader.readexactly(8) == b"greeting"
        if ending != "open":
            assert await reader.read() == b""
        writer.close()
        servers.close()
        await tunnel.closed()


async def test_a_reset_goes_through(p: Proxied) -> None:
    async def resets(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own: socket.socket = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with far(resets) as port:
        agent, _ = await connect(p, port)
        async with asyncio.timeout(HANG_S):
            with suppress(ConnectionResetError):
                assert await agent.reader.read() == b""
        await until(lambda: not p.forward.tunnels.open)


async def test_a_tunnel_in_which_nothing_moves_is_cut() -> None:
    async with proxied(Limits(tunnel_idle_s=0.05)) as p, far(echo) as port:
        agent, _ = await connect(p, port)
        async with asyncio.timeout(HANG_S):
            assert await agent.reader.read() == b""
        await until(lambda: p.w.recorded.passed)
        assert "nothing moved" in (p.w.recorded.passed[0].error or "")


async def test_no_more_tunnels_than_the_limit() -> None:
    async with proxied(Limits(tunnels=1)) as p, far(echo) as port:
        first, _ = await connect(p, port)
        agent = await p.agent()
        answer = await agent.request("CONNECT", f"127.0.0.1:{port}")
        assert (answer.status, answer.json["reason"]) == (429, "ConcurrencyLimit")
        first.close()
        await until(lambda: not p.forward.tunnels.open)
        _, again = await connect(p, port)
        assert again.status == 200


async def test_deny_refuses_tunnels(p: Proxied) -> None:
    p.w.install(egress_default="Deny")
    agent = await p.agent()
    answer = await agent.request("CONNECT", f"127.0.0.1:{p.other.port}")
    assert (answer.status, answer.json["reason"]) == (403, "EgressDenied")
    assert (answer.header("Connection"), p.other.connections) == ("close", 0)
    assert p.w.recorded.refusals[0].destination == f"127.0.0.1:{p.other.port}"


async def test_a_new_denial_ends_the_tunnels_that_there_are(p: Proxied) -> None:
    async with far(echo) as port:
        agent, _ = await connect(p, port)
        p.w.install()  # a change that is none for the tunnel
        await agent.raw(b"still")
        assert await read(agent, 5) == b"still"
        p.w.install(egress_default="Deny")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read(agent, 1)


async def test_a_new_server_ends_the_tunnels_that_pass_it_by(p: Proxied) -> None:
    async with far(echo) as port:
        agent, _ = await connect(p, port)
        p.w.install(port=port)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read(agent, 1)


async def test_metadata_addresses_and_the_sidecar_itself_are_refused(
    p: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = [await p.agent() for _ in range(3)]

    async def create_connection(*_given: object, **_options: object) -> None:
        raise OSError("no test leaves this machine")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
    places = ["169.254.169.254:80", "[::ffff:169.254.169.254]:80", f"localhost:{p.port}"]
    for agent, place in zip(agents, places, strict=True):
        answer = await agent.request("CONNECT", place)
        assert (answer.status, answer.json["reason"]) == (403, "EgressDenied"), place


async def test_a_host_that_is_not_there(p: Proxied) -> None:
    await p.other.stop()
    agent = await p.agent()
    answer = await agent.request("CONNECT", f"127.0.0.1:{p.other.port}")
    assert (answer.status, answer.json["reason"]) == (502, "ConnectRefused")


@pytest.mark.parametrize(
    "target", ["host", "host:", "host:0", "u@host:443", "http://host:443", "127.1:80", "[::1"]
)
async def test_connect_needs_a_host_and_a_port(p: Proxied, target: str) -> None:
    agent = await p.agent()
    answer = await agent.request("CONNECT", target)
    assert (answer.status, answer.json["reason"]) == (400, "MalformedRequest")


async def test_connect_has_no_body(p: Proxied) -> None:
    agent = await p.agent()
    answer = await agent.request("CONNECT", f"127.0.0.1:{p.other.port}", b"x")
    assert answer.status == 400
    assert p.other.connections == 0


async def test_an_old_client_without_a_host_header_is_served(p: Proxied) -> None:
    """Python's http.client says CONNECT in HTTP/1.0."""
    async with far(echo) as port:
        agent = await p.agent()
        await agent.raw(f"CONNECT 127.0.0.1:{port} HTTP/1.0\r\n\r\nhello".encode())
        assert (await agent.head()).status == 200
        assert await read(agent, 5) == b"hello"


async def test_draining_does_not_wait_for_tunnels(p: Proxied) -> None:
    async with far(echo) as port:
        agent, _ = await connect(p, port)
        async with asyncio.timeout(HANG_S):
            await p.forward.drain(3600)
            with suppress(ConnectionResetError):
                assert await agent.reader.read() == b""


async def test_http_in_a_tunnel_to_a_named_host_is_a_call(p: Proxied) -> None:
    """As Node sends it for http:// URLs."""
    agent, answer = await connect(p, p.w.tool.port)
    assert answer.status == 200
    for number in range(2):
        host = [("Host", f"127.0.0.1:{p.w.tool.port}")]
        assert (await agent.request("GET", f"/base/v1/tickets/{number}", headers=host)).json == {"ok": True}
    record = await p.w.recorded_call(2)
    assert (record.server, record.tool) == ("api", "ticket")
    assert p.w.recorded.passed == []
    agent.close()
    await until(lambda: not p.forward._http.open)


async def test_a_request_that_came_with_connect_is_a_call_too(p: Proxied) -> None:
    request = f"GET /base/v1/tickets/1 HTTP/1.1\r\nHost: 127.0.0.1:{p.w.tool.port}\r\n\r\n"
    agent, answer = await connect(p, p.w.tool.port, early=request.encode())
    assert answer.status == 200
    assert (await agent.answer()).json == {"ok": True}
    assert (await p.w.recorded_call()).tool == "ticket"


@pytest.mark.parametrize(
    ("method", "target", "host"),
    [
        ("GET", "/base/v1/tickets/1", "elsewhere.example"),
        ("GET", "/base/v1/tickets/1", "127.0.0.1"),
        ("GET", "http://127.0.0.1/base", None),
        ("CONNECT", "127.0.0.1:1", None),
        ("OPTIONS", "*", None),
    ],
)
async def test_inside_of_a_tunnel_there_is_one_host(
    p: Proxied, method: str, target: str, host: str | None
) -> None:
    agent, _ = await connect(p, p.w.tool.port)
    given = host or f"127.0.0.1:{p.w.tool.port}"
    answer = await agent.request(method, target, headers=[("Host", given)])
    assert (answer.status, answer.json["reason"]) == (400, "MalformedRequest")
    assert p.w.tool.seen == []
