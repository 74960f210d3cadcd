"""The control channel's end in the sidecar, against a real WebSocket server over real TLS that plays the operator."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from tests.unit.datapath.loopback import by_hand
from toolpolicy_api import channel, snapshot
from toolpolicy_operator.tls.certificates import make_ca, make_leaf
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.config.channel import ControlChannel, Where
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest


class Silent:
    """A recorder that passes transitions on, as the process does."""

    def __init__(self) -> None:
        self.channel: ControlChannel | None = None

    def call(self, record: CallRecord) -> None:
        """Not looked at here."""

    def refused(self, record: RefusedRequest) -> None:
        """Not looked at here."""

    def redacted(self, record: RedactedMessage) -> None:
        """Not looked at here."""

    def egress(self, record: EgressRecord) -> None:
        """Not looked at here."""

    def transition(self, transition: channel.Transition) -> None:
        if self.channel:
            self.channel.transition(transition)


class Operator:
    """Keeps what it hears; says what the test wants."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[channel.FromSidecar] = asyncio.Queue()
        self.sockets: asyncio.Queue[web.WebSocketResponse] = asyncio.Queue()
        self.tokens: list[str] = []
        self.refuse = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.refuse:
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.sockets.put(socket)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await self.heard.put(channel.decode_from_sidecar(message.data))
        return socket

    async def next(self) -> channel.FromSidecar:
        return await asyncio.wait_for(self.heard.get(), 10)

    async def next_of(self, kind: type[channel.FromSidecar]) -> channel.FromSidecar:
        while not isinstance(message := await self.next(), kind):
            pass
        return message


class Scene:
    def __init__(self, operator: Operator, current: Current, client: ControlChannel, folder: Path) -> None:
        self.operator, self.current, self.client, self.folder = operator, current, client, folder
        self.installed: list[bytes] = []

    async def send(
        self, socket: web.WebSocketResponse, data: bytes, digest: str = "", version: int = 1
    ) -> None:
        message = channel.Config(
            version=version, hash=digest or snapshot.sha256(data), snapshot=msgspec.Raw(data)
        )
        await socket.send_str(channel.encode(message).decode())

    async def greeted(self) -> web.WebSocketResponse:
        socket = await asyncio.wait_for(self.operator.sockets.get(), 10)
        assert isinstance(await self.operator.next(), channel.Hello)
        assert isinstance(await self.operator.next(), channel.Heartbeat)
        return socket


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    now = dt.datetime.now(dt.UTC)
    ca = make_ca("test", now)
    leaf = make_leaf(ca, ["localhost"], now)
    (tmp_path / "ca.crt").write_text(ca.certificate, encoding="ascii")
    (tmp_path / "tls.pem").write_text(leaf.certificate + leaf.key, encoding="ascii")
    (tmp_path / "token").write_text("first", encoding="ascii")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "tls.pem")
    operator = Operator()
    app = web.Application()
    app.router.add_get(channel.PATH, operator.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    port = runner.addresses[0][1]

    recorder = Silent()
    current = Current(recorder=recorder, clock=SystemClock())
    where = Where(f"wss://localhost:{port}", tmp_path / "token", tmp_path / "ca.crt")
    installed: list[bytes] = []
    client = recorder.channel = ControlChannel(where, current, installed.append)
    running = asyncio.ensure_future(client.run())
    made = Scene(operator, current, client, tmp_path)
    made.installed = installed
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await runner.cleanup()


def data(name: str = "kb", *, breaker: bool = False) -> bytes:
    rules = snapshot.Rules(
        timeouts=snapshot.Timeouts(total_ms=1, attempt_ms=1, connect_ms=1),
        breaker=snapshot.Breaker(open_for_ms=1000, half_open_calls=1, mode="Auto") if breaker else None,
    )
    server = snapshot.Server(name=name, protocol="MCP", url="http://x/mcp", unlisted=rules)
    policy = snapshot.Policy(
        namespace="ns",
        name="p",
        uid="u",
        generation=1,
        created="",
        selector=snapshot.Selector(),
        servers=(server,),
    )
    return snapshot.encode(snapshot.Snapshot(policies=(policy,)))


async def test_a_snapshot_is_taken_confirmed_and_kept(scene: Scene) -> None:
    socket = await scene.greeted()
    await scene.send(socket, data())
    ack = await scene.operator.next()
    assert ack == channel.Ack(version=1, hash=snapshot.sha256(data()))
    beat = await scene.operator.next()
    assert isinstance(beat, channel.Heartbeat)
    assert beat.hash == snapshot.sha256(data())
    assert [report.key.server for report in beat.tools] == ["kb"]
    assert scene.installed == [data()]
    assert scene.client.configured.is_set()
    assert scene.operator.tokens == ["Bearer first"]


@pytest.mark.parametrize(
    ("bad", "digest", "words"),
    [
        (data(), "0" * 64, "do not have the hash"),
        (b'{"policies":[{"name":1}]}', "", "policies"),
        (b"[]", "", "Expected"),
        (data().replace(b"http://x/mcp", b"gopher://x"), "", "policies[0].servers[0].url"),
    ],
)
async def test_a_bad_snapshot_is_refused_and_the_good_one_stays(
    scene: Scene, bad: bytes, digest: str, words: str
) -> None:
    socket = await scene.greeted()
    await scene.send(socket, data("good"))
    await scene.operator.next_of(channel.Ack)
    await scene.send(socket, bad, digest, version=2)
    nack = await scene.operator.next_of(channel.Nack)
    assert isinstance(nack, channel.Nack)
    assert nack.version == 2
    assert words in nack.error
    assert scene.current.runtime
    assert list(scene.current.runtime.servers) == ["good"]
    assert scene.client.nacks == 1
    assert len(scene.installed) == 1


async def test_a_frame_that_is_no_message_ends_the_connection_and_the_next_says_what_is_in_force(
    scene: Scene,
) -> None:
    socket = await scene.greeted()
    await scene.send(socket, data())
    await scene.operator.next_of(channel.Ack)
    (scene.folder / "token").write_text("second", encoding="ascii")
    await socket.send_str("nonsense")
    hello = await scene.operator.next_of(channel.Hello)
    assert isinstance(hello, channel.Hello)
    assert hello.hash == snapshot.sha256(data())
    assert scene.operator.tokens[-1] == "Bearer second", "the token is read anew for each connection"


async def test_a_refused_sidecar_goes_on_trying(scene: Scene) -> None:
    first = await scene.greeted()
    scene.operator.refuse = True
    await first.close()
    while len(scene.operator.tokens) < 3:  # noqa: ASYNC110 -- the operator keeps a list, not an event
        await asyncio.sleep(0.02)
    assert not scene.client.connected
    scene.operator.refuse = False
    await scene.greeted()


async def test_a_transition_is_told_at_once(scene: Scene) -> None:
    socket = await scene.greeted()
    await scene.send(socket, data(breaker=True))
    await scene.operator.next_of(channel.Ack)
    assert scene.current.runtime
    scene.current.runtime.circuit("kb/*").impose(by_hand("by hand"))
    report = await scene.operator.next_of(channel.Report)
    assert isinstance(report, channel.Report)
    assert [(t.before, t.after) for t in report.transitions] == [("Closed", "Disabled")]
    assert [tool.state for tool in report.tools] == ["Disabled"]
