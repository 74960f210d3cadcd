"""WebSockets through the forward proxy: by an absolute URL, inside of CONNECT, and inside of TLS on both sides."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import WSMsgType
from msgspec.structs import replace

from tests.unit.datapath.loopback import Agent, Exchange, until
from tests.unit.datapath.web_sockets import LARGE_BYTES, Sockets, sockets
from tests.unit.forward.proxied import SIDECAR_CA, WORLD_CA, Proxied, trusting
from toolpolicy_api import snapshot

ASKING = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
]
AGREES = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Rig(NamedTuple):
    p: Proxied
    server: Sockets
    url: str
    tls: ssl.SSLContext | bool
    """What the agent trusts."""

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(
                f"{self.url}/base/live",
                proxy=f"http://127.0.0.1:{self.p.port}",
                ssl=self.tls,
                max_msg_size=2 * LARGE_BYTES,
            ) as socket,
        ):
            yield socket


@pytest.fixture(params=["ws", "wss"])
async def rig(request: pytest.FixtureRequest, p: Proxied) -> AsyncIterator[Rig]:
    secure = request.param == "wss"
    if secure:
        p.w.pool.tls.default = trusting(WORLD_CA.certificate)
        p.forward.interception.authority = SIDECAR_CA
    async with sockets(WORLD_CA.context("localhost") if secure else None) as server:
        host, scheme = ("localhost", "https") if secure else ("127.0.0.1", "http")
        p.w.install(scheme=scheme, host=host, port=server.port, upgrade="Tunnel")
        url = f"{request.param}://{host}:{server.port}"
        yield Rig(p, server, url, trusting(SIDECAR_CA.certificate) if secure else True)
        await until(lambda: not p.forward._http.open)
    assert p.w.current.in_flight.requests == p.w.current.in_flight.pushing == p.forward.websockets == 0


async def says(socket: aiohttp.ClientWebSocketResponse, text: str) -> str:
    await socket.send_str(text)
    heard: str = await socket.receive_str(timeout=20)
    return heard


async def test_both_sides_speak(rig: Rig) -> None:
    data = bytes(LARGE_BYTES)
    async with rig.talking() as socket:
        assert await says(socket, "hello") == "HELLO"
        await socket.send_bytes(data)
        assert await socket.receive_bytes(timeout=20) == data
        call = await rig.p.w.recorded_call()
        assert (call.server, call.tool, call.status) == ("api", "*", 101)
    await until(lambda: rig.p.w.recorded.passed)
    (passed,) = rig.p.w.recorded.passed
    assert (passed.via, passed.error) == ("WebSocket", None)
    assert not {name for name in rig.server.asked[0].headers if name.lower().startswith("proxy-")}
    assert rig.server.ended == [1000]


@pytest.mark.parametrize("word", ["close", "drop"])
async def test_the_server_ends_it(rig: Rig, word: str) -> None:
    async with rig.talking() as socket:
        await socket.send_str(word)
        assert (await socket.receive(timeout=20)).type in {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR}
    await until(lambda: rig.p.w.recorded.passed)


async def test_the_agent_hangs_up(rig: Rig) -> None:
    async with rig.talking() as socket:
        assert await says(socket, "hello") == "HELLO"
        transport = socket._response.connection and socket._response.connection.transport
        assert transport
        transport.abort()
        await until(lambda: rig.server.ended)
        await until(lambda: rig.p.w.recorded.passed)


async def test_the_server_says_no(rig: Rig) -> None:
    rig.server.refuses = 401
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with rig.talking():
            pass
    assert refused.value.status == 401
    assert [call.status for call in rig.p.w.recorded.calls] == [401]
    assert not rig.p.w.recorded.passed


async def test_a_policy_that_refuses(rig: Rig) -> None:
    scheme, host = ("https", "localhost") if rig.url.startswith("wss") else ("http", "127.0.0.1")
    rig.p.w.install(scheme=scheme, host=host, port=rig.server.port)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with rig.talking():
            pass
    assert refused.value.status == 403
    assert not rig.server.asked


async def test_a_drain_cuts_it(rig: Rig) -> None:
    async with rig.talking() as socket:
        assert await says(socket, "hello") == "HELLO"
        await rig.p.forward.drain(60)
        assert (await socket.receive(timeout=20)).type in {WSMsgType.CLOSED, WSMsgType.ERROR}
        assert [passed.error for passed in rig.p.w.recorded.passed] == ["the sidecar is shutting down"]


async def test_inside_of_a_tunnel_without_tls(p: Proxied) -> None:
    """So do clients that know only CONNECT."""
    async with sockets() as server:
        p.w.install(port=server.port, upgrade="Tunnel")
        agent = await p.agent()
        where = f"127.0.0.1:{server.port}"
        await agent.send("CONNECT", where, None, [("Host", where)])
        assert (await agent.head()).status == 200
        inner = Agent(server.port, agent.reader, agent.writer)
        await inner.send("GET", "/base/live", None, ASKING)
        assert (await inner.head()).status == 101
        await agent.raw(b"\x88\x80\0\0\0\0")  # close
        assert (await agent.reader.read())[:1] == b"\x88"
        agent.close()
        await until(lambda: p.w.recorded.passed)
        assert [passed.via for passed in p.w.recorded.passed] == ["WebSocket"]
        await until(lambda: not p.forward._http.open)


@pytest.mark.parametrize("by", ["reverse", "forward"])
async def test_the_end_of_a_side_with_tls(p: Proxied, by: str, caplog: pytest.LogCaptureFixture) -> None:
    """TLS knows no half-closed connections: the end of one side is the end of both."""

    async def leaves(exchange: Exchange) -> None:
        await exchange.raw(AGREES + b"bye")
        exchange._writer.close()

    tool = p.w.tool
    await tool.stop()
    tool.tls, tool.script = WORLD_CA.context("localhost"), leaves
    await tool.start()
    p.w.pool.tls.default = trusting(WORLD_CA.certificate)
    p.forward.interception.authority = SIDECAR_CA
    p.w.install(scheme="https", host="localhost", upgrade="Tunnel")
    where = f"localhost:{tool.port}"
    if by == "reverse":
        agent, target = await p.w.agent(), "/api/live"
    else:
        agent, target = await p.agent(), "/base/live"
        await agent.send("CONNECT", where, None, [("Host", where)])
        assert (await agent.head()).status == 200
        await agent.writer.start_tls(trusting(SIDECAR_CA.certificate), server_hostname="localhost")
    await agent.send("GET", target, None, [("Host", where), *ASKING])
    assert (await agent.head()).status == 101
    assert await agent.reader.read() == b"bye"
    agent.close()
    await until(lambda: p.w.recorded.passed)
    assert p.w.recorded.passed[0].error is None
    await until(lambda: not p.forward._http.open)
    assert not caplog.records


def below(p: Proxied, port: int, path: str) -> snapshot.Policy:
    """With a server at this path of a host."""
    policy = p.w.policy(port=port)
    api = replace(policy.servers[1], url=f"http://127.0.0.1:{port}{path}")
    return replace(policy, servers=(policy.servers[0], api))


@asynccontextmanager
async def elsewhere(p: Proxied, server: Sockets) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """One that was asked for by an absolute URL, as clients do that know no CONNECT for `ws:`."""
    proxy = f"http://127.0.0.1:{p.port}"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{server.port}/base/live", proxy=proxy) as socket,
    ):
        yield socket


async def test_to_a_host_that_no_policy_names(p: Proxied) -> None:
    async with sockets() as server:
        async with elsewhere(p, server) as socket:
            assert await says(socket, "hello") == "HELLO"
            p.w.install()  # nothing that is about this host
            assert await says(socket, "again") == "AGAIN"
        await until(lambda: p.w.recorded.passed)
    (passed,) = p.w.recorded.passed
    assert (passed.via, passed.server, passed.status, passed.error) == ("WebSocket", None, 101, None)
    assert passed.destination == f"127.0.0.1:{server.port}"
    assert passed.sent_bytes > 10 < passed.received_bytes
    assert not p.w.recorded.calls
    assert p.w.current.in_flight.requests == p.w.current.in_flight.pushing == p.forward.websockets == 0


@pytest.mark.parametrize("change", ["denied", "named"])
async def test_one_to_elsewhere_ends_when_it_would_not_begin_any_more(p: Proxied, change: str) -> None:
    async with sockets() as server, elsewhere(p, server) as socket:
        assert await says(socket, "hello") == "HELLO"
        if change == "denied":
            p.w.install(egress_default="Deny")
        else:
            p.w.install(port=server.port)
        assert (await socket.receive(timeout=20)).type in {WSMsgType.CLOSED, WSMsgType.ERROR}
        await until(lambda: p.w.recorded.passed)
    assert p.w.recorded.passed[0].error == "the policies have changed"


async def test_another_path_of_a_named_host_is_elsewhere(p: Proxied) -> None:
    async with sockets() as server:
        p.w.install_policy(below(p, server.port, "/other"))
        async with elsewhere(p, server) as socket:
            assert await says(socket, "hello") == "HELLO"
            p.w.install_policy(below(p, server.port, "/another"))
            assert await says(socket, "again") == "AGAIN"
            p.w.install_policy(below(p, server.port, "/base"))
            assert (await socket.receive(timeout=20)).type in {WSMsgType.CLOSED, WSMsgType.ERROR}


async def test_elsewhere_may_say_no_or_nonsense(p: Proxied) -> None:
    async with sockets() as server:
        server.refuses = 401
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with elsewhere(p, server):
                pass
    assert refused.value.status == 401
    assert [passed.via for passed in p.w.recorded.passed] == ["Request"]
    agent = await p.agent()

    async def nonsense(exchange: Exchange) -> None:
        await exchange.raw(AGREES.replace(b"s3pP", b"s3pQ"))

    p.other.script = nonsense
    answer = await agent.request("GET", f"{p.elsewhere}/live", None, [("Host", "x"), *ASKING])
    assert (answer.status, answer.json["reason"]) == (502, "MalformedAnswer")
    agent = await p.agent()
    answer = await agent.request("GET", f"{p.elsewhere}/live", None, [("Host", "x"), *ASKING[:2]])
    assert (answer.status, answer.json["reason"]) == (400, "MalformedRequest")
    p.w.install(egress_default="Deny")
    agent = await p.agent()
    answer = await agent.request("GET", f"{p.elsewhere}/live", None, [("Host", "x"), *ASKING])
    assert (answer.status, answer.json["reason"]) == (403, "EgressDenied")
    assert len(p.other.seen) == 1
