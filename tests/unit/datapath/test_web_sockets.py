"""WebSockets to servers that may have them (`servers[].upgrade: Tunnel`), with aiohttp at both ends; and what must
never come of one that the server does not want."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import WSMsgType

from tests.unit.datapath.loopback import (
    Exchange,
    World,
    breaker,
    by_hand,
    redaction,
    retry,
    rules,
    until,
    world,
)
from tests.unit.datapath.web_sockets import LARGE_BYTES, Sockets, sockets
from toolpolicy_api import snapshot
from toolpolicy_api.channel import ToolKey
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.metrics import Metrics
from toolpolicy_sidecar.reasons import Reason

EVIL = b"GET /base/evil HTTP/1.1\r\nHost: x\r\n\r\n"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3
ASKING = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
]
AGREES = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
)
PLACE = "/api/v1/tickets/7"


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        made.install(upgrade="Tunnel")
        yield made
        await nothing_is_left(made)


@pytest.fixture
async def s() -> AsyncIterator[Sockets]:
    async with sockets() as made:
        yield made


async def nothing_is_left(w: World) -> None:
    for agent in w.agents:
        agent.close()
    await until(lambda: not w.listener._http.open)
    assert w.current.in_flight.requests == w.current.in_flight.pushing == w.listener.websockets == 0
    assert (
        all(not slots.in_flight for slots in w.current.runtime.slots.values()) if w.current.runtime else True
    )


@asynccontextmanager
async def talking(w: World, path: str = PLACE) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    headers = {"Authorization": "Bearer mine", "Connection": "upgrade, X-Hop", "X-Hop": "y"}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"http://127.0.0.1:{w.port}{path}?a=1",
            protocols=("notes",),
            headers=headers,
            max_msg_size=2 * LARGE_BYTES,
        ) as socket,
    ):
        yield socket


async def says(socket: aiohttp.ClientWebSocketResponse, text: str) -> str:
    await socket.send_str(text)
    heard: str = await socket.receive_str(timeout=20)
    return heard


def open_now(w: World) -> float | None:
    """As a scrape has it."""
    assert w.current.runtime
    (policy,) = w.current.runtime.policies
    labels = {"policy": policy.key, "server": "api"}
    return Metrics(w.current).registry.get_sample_value("toolpolicy_websockets_open", labels)


async def refusal(w: World, path: str = PLACE) -> tuple[int, str]:
    """Status and reason."""
    agent = await w.agent()
    answer = await agent.request("GET", path, None, ASKING)
    assert await agent.reader.read() == b""
    return answer.status, answer.json["reason"]


async def test_both_sides_speak(w: World, s: Sockets) -> None:
    w.install(upgrade="Tunnel", port=s.port)
    async with talking(w) as socket:
        assert socket.protocol == "notes"
        assert await says(socket, "hello") == "HELLO"
        call = await w.recorded_call()  # it is over, as a call; the rest is no call
        assert (call.tool, call.status, call.outcome, call.reason, call.attempts) == (
            "ticket",
            101,
            "success",
            None,
            1,
        )
        assert not w.recorded.passed
        assert w.current.in_flight.requests == w.current.in_flight.pushing == w.listener.websockets == 1
        assert w.current.runtime
        assert open_now(w) == 1
        busy = {key.tool for key, slots in w.current.runtime.slots.items() if slots.in_flight}
        assert busy == {"ticket", None}  # and its server
        assert w.pool.open == 0  # it is no connection of the pool any more
        data = bytes(LARGE_BYTES)
        await socket.send_bytes(data)
        assert await socket.receive_bytes(timeout=20) == data
    await until(lambda: w.recorded.passed)
    assert open_now(w) == 0
    (passed,) = w.recorded.passed
    assert (passed.via, passed.server, passed.status) == ("WebSocket", "api", 101)
    assert (passed.destination, passed.error) == (f"127.0.0.1:{s.port}", None)
    assert passed.sent_bytes > LARGE_BYTES
    assert passed.received_bytes > LARGE_BYTES
    assert s.ended == [1000]
    (asked,) = s.asked
    assert asked.path_qs == "/base/v1/tickets/7?a=1"
    assert asked.headers["Authorization"] == "Bearer mine"
    assert asked.headers["Host"] == f"127.0.0.1:{s.port}"
    assert asked.headers.getall("Connection") == ["Upgrade"]
    assert not {"X-Hop", "X-Request-Timeout-Ms"} & set(asked.headers)
    assert len(w.recorded.calls) == 1


async def test_the_server_closes(w: World, s: Sockets) -> None:
    w.install(upgrade="Tunnel", port=s.port)
    async with talking(w) as socket:
        await socket.send_str("close")
        assert (await socket.receive(timeout=20)).type is WSMsgType.CLOSE
        assert socket.close_code == 4001
    await until(lambda: w.recorded.passed)
    assert w.recorded.passed[0].error is None


async def test_the_server_hangs_up(w: World, s: Sockets) -> None:
    w.install(upgrade="Tunnel", port=s.port)
    async with talking(w) as socket:
        await socket.send_str("drop")
        assert (await socket.receive(timeout=20)).type in {WSMsgType.CLOSED, WSMsgType.ERROR}
        assert socket.close_code == 1006
    await until(lambda: w.recorded.passed)
    assert [call.outcome for call in w.recorded.calls] == ["success"]  # so was the handshake


async def test_the_agent_hangs_up(w: World, s: Sockets) -> None:
    w.install(upgrade="Tunnel", port=s.port)
    agent = await w.agent()
    await agent.send("GET", PLACE, None, ASKING)
    assert (await agent.head()).status == 101
    agent.writer.transport.abort()
    await until(lambda: s.ended)
    await until(lambda: w.recorded.passed)
    assert len(w.recorded.calls) == 1


async def test_the_agent_hangs_up_before_the_server_agrees(w: World) -> None:
    hung_up = asyncio.Event()

    async def late(exchange: Exchange) -> None:
        await hung_up.wait()
        await exchange.raw(AGREES.encode())
        await exchange.closed()

    w.tool.script = late
    agent = await w.agent()
    await agent.send("GET", PLACE, None, ASKING)
    await until(lambda: w.tool.seen)
    agent.writer.transport.abort()
    hung_up.set()
    await w.recorded_call()
    await nothing_is_left(w)


async def test_the_server_says_no(w: World, s: Sockets) -> None:
    s.refuses = 403
    w.install(upgrade="Tunnel", port=s.port)
    agent = await w.agent()
    await agent.send("GET", PLACE, None, ASKING)
    await agent.raw(EVIL)
    answer = await agent.answer()
    assert (answer.status, answer.json) == (403, {"why": "not for you"})
    assert answer.header("Connection") == "close"
    assert await agent.reader.read() == b""
    call = await w.recorded_call()
    assert (call.status, call.reason) == (403, Reason.ClientError)
    assert not w.recorded.passed
    assert [asked.path for asked in s.asked] == ["/base/v1/tickets/7"]


async def test_nothing_is_sent_on_before_the_server_agrees(w: World) -> None:
    """Else a server that does not agree would read it as a request."""
    heard = b""

    async def slow(exchange: Exchange) -> None:
        nonlocal heard
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(exchange._reader.read(1), 0.1)
        await exchange.raw(AGREES.encode() + b"welcome")
        heard = await exchange._reader.readexactly(len(EVIL) + 3)
        await exchange.raw(b"bye")
        exchange._writer.close()

    w.tool.script = slow
    agent = await w.agent()
    await agent.send("GET", PLACE, None, ASKING)
    await agent.raw(EVIL)
    head = await agent.head()
    assert (head.status, head.header("Sec-WebSocket-Accept")) == (101, ACCEPT)
    assert head.header("Content-Length") is head.header("Transfer-Encoding") is None
    await agent.raw(b"end")
    assert await agent.reader.read() == b"welcomebye"
    assert heard == EVIL + b"end"
    assert len(w.tool.seen) == 1


async def test_what_was_kept_back_is_lost_when_the_server_does_not_agree(w: World) -> None:
    agent = await w.agent()
    await agent.raw(_request(ASKING) + EVIL + EVIL)
    assert (await agent.answer()).json == {"ok": True}
    assert await agent.reader.read() == b""
    assert (await (await w.agent()).request("GET", PLACE)).status == 200
    assert [seen.target for seen in w.tool.seen] == ["/base/v1/tickets/7"] * 2


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        ("POST", ASKING, None),
        ("GET", ASKING, EVIL),
        ("GET", [*ASKING, ("Transfer-Encoding", "chunked")], b"0\r\n\r\n"),
        ("GET", ASKING[1:], None),
        ("GET", [*ASKING[1:], ("Connection", "close")], None),
        ("GET", [header for header in ASKING if header[0] != "Sec-WebSocket-Key"], None),
        ("GET", [*ASKING, ("Sec-WebSocket-Key", KEY)], None),
        ("GET", [*ASKING[:2], ("Sec-WebSocket-Key", "x"), ASKING[3]], None),
        ("GET", [ASKING[0], ("Upgrade", "xwebsocket"), *ASKING[2:]], None),
    ],
)
async def test_no_way_to_ask(
    w: World, method: str, headers: list[tuple[str, str]], body: bytes | None
) -> None:
    agent = await w.agent()
    answer = await agent.request(method, "/api/live", body, headers)
    assert (answer.status, answer.json["reason"]) == (400, "MalformedRequest")
    assert not w.tool.seen
    assert len(w.recorded.calls) == 1


async def test_no_way_to_ask_in_http_1_0(w: World) -> None:
    agent = await w.agent()
    await agent.raw(_request(ASKING).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await agent.answer()).status == 400
    assert not w.tool.seen


async def test_the_first_of_two_cannot_take_what_follows_the_second(w: World) -> None:
    """The parser stops after the second head. The first one did not ask in a way that would have stopped it."""
    agent = await w.agent()
    await agent.raw(_request(ASKING[1:]) + _request(ASKING) + EVIL)
    assert [(await agent.answer()).status for _ in range(2)] == [400, 200]
    assert await agent.reader.read() == b""
    assert [seen.target for seen in w.tool.seen] == ["/base/v1/tickets/7"]


@pytest.mark.parametrize(
    "said",
    [
        AGREES.replace(ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        AGREES.replace("Sec-WebSocket-Accept", "X-Accept"),
        AGREES.replace("WebSocket\r", "h2c\r"),
        AGREES.replace("Upgrade: WebSocket\r\n", ""),
        AGREES.replace("Connection: upgrade\r\n", ""),
        AGREES.replace("Connection", "Content-Length: 5\r\nConnection"),
        AGREES.replace("Connection", "Transfer-Encoding: chunked\r\nConnection"),
    ],
)
async def test_a_101_that_agrees_to_nothing(w: World, said: str) -> None:
    closed = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.raw(said.encode())
        await exchange.closed()
        closed.set()

    w.tool.script = script
    assert await refusal(w) == (502, "MalformedAnswer")
    await asyncio.wait_for(closed.wait(), 20)
    assert not w.recorded.passed
    assert w.pool.open == 0


async def test_who_was_not_told_to_tunnel_refuses(w: World) -> None:
    w.install()
    assert await refusal(w) == (403, "UpgradeRefused")
    assert await refusal(w, "/kb") == (403, "UpgradeRefused")
    w.install(upgrade="Tunnel")
    assert await refusal(w, "/kb") == (403, "UpgradeRefused")  # MCP has none
    assert not w.tool.seen


@pytest.mark.parametrize("mode", ["Off", "Shadow"])
async def test_a_policy_that_is_not_enforced_refuses_nothing(
    w: World, s: Sockets, mode: snapshot.Mode
) -> None:
    w.install(port=s.port, mode=mode, redaction=redaction())
    async with talking(w) as socket:
        assert await says(socket, "hello") == "HELLO"
        call = await w.recorded_call()
        assert call.shadow == ((Reason.UpgradeRefused,) if mode == "Shadow" else ())
    await until(lambda: w.recorded.passed)


async def test_a_shadow_has_nothing_to_say_of_one_that_may_pass(w: World, s: Sockets) -> None:
    w.install(upgrade="Tunnel", port=s.port, mode="Shadow", redaction=redaction(on_unscannable="Pass"))
    async with talking(w) as socket:
        assert await says(socket, "hello") == "HELLO"
        call = await w.recorded_call()
        assert (call.shadow, call.outcome, call.error) == ((), "success", None)
    await until(lambda: w.recorded.passed)


async def test_redaction_leaves_what_the_handshake_is_read_by(w: World, s: Sockets) -> None:
    encoded = snapshot.Pattern("encoded", "[A-Za-z0-9+/]{5,}=+", "[any]")
    redacts = snapshot.Redaction(patterns=(encoded,), headers=("*",), on_unscannable="Pass")
    w.install(upgrade="Tunnel", port=s.port, redaction=redacts)
    agent = await w.agent()
    await agent.send("GET", PLACE, None, [*ASKING, ("X-Note", "c2VjcmV0cw==")])
    head = await agent.head()
    assert (head.status, head.header("Sec-WebSocket-Accept")) == (101, ACCEPT)
    assert s.asked[0].headers["X-Note"] == "[any]"
    agent.close()
    await until(lambda: w.recorded.passed)


async def test_what_is_redacted_is_not_tunnelled(w: World, s: Sockets) -> None:
    exempt = snapshot.Tool("live", "api", snapshot.HttpMatch("/live"), rules(), snapshot.Redaction())
    w.install(upgrade="Tunnel", port=s.port, redaction=redaction(), more=(exempt,))
    assert await refusal(w) == (403, "UpgradeRefused")
    assert not s.asked
    async with talking(w, "/api/live") as socket:
        assert await says(socket, "sk-abcdefgh1") == "SK-ABCDEFGH1"
    w.install(upgrade="Tunnel", port=s.port, redaction=redaction(on_unscannable="Pass", headers=("*",)))
    async with talking(w, "/api/v1/tickets/sk-abcdefgh1") as socket:
        assert await says(socket, "sk-abcdefgh1") == "SK-ABCDEFGH1"
    assert s.asked[-1].path == "/base/v1/tickets/[key]"


async def test_rules_decide_whether_it_begins(w: World) -> None:
    w.install(upgrade="Tunnel", tool_rules=rules(enabled=False))
    assert await refusal(w) == (503, "ToolDisabled")
    w.install(upgrade="Tunnel")
    assert w.current.runtime
    w.current.runtime.circuit("api/*").impose(by_hand())
    assert await refusal(w, "/api/live") == (503, "ToolDisabled")
    agent = await w.agent()
    assert (await agent.request("GET", "/api/%2e%2e/live", None, ASKING)).status == 400
    assert not w.tool.seen


async def test_a_policy_that_changes_its_mind_leaves_open_what_is_open(w: World, s: Sockets) -> None:
    w.install(upgrade="Tunnel", port=s.port)
    async with talking(w) as socket:
        w.install(upgrade="Refuse", port=s.port)
        assert await refusal(w) == (403, "UpgradeRefused")
        assert await says(socket, "hello") == "HELLO"


async def test_a_slot_is_held_while_it_is_open(w: World, s: Sockets) -> None:
    one = snapshot.Concurrency(max=1)
    w.install(upgrade="Tunnel", port=s.port, tool_rules=rules(concurrency=one), server_concurrency=one)
    async with talking(w) as socket:
        assert await refusal(w) == (429, "ConcurrencyLimit")
        assert await refusal(w, "/api/live") == (429, "ConcurrencyLimit")
        assert await says(socket, "hello") == "HELLO"
    await until(lambda: w.recorded.passed)
    async with talking(w) as socket:
        assert await says(socket, "again") == "AGAIN"


async def test_the_circuit_learns_from_handshakes(w: World, s: Sockets) -> None:
    w.install(upgrade="Tunnel", port=s.port, tool_rules=rules(breaker=breaker(1, open_for_ms=1)))
    s.refuses = 500
    agent = await w.agent()
    assert (await agent.request("GET", PLACE, None, ASKING)).json == {"why": "not for you"}
    await w.recorded_call()
    assert w.current.runtime
    circuit = w.current.runtime.circuits[ToolKey("support/agent", "api", "ticket")]
    s.refuses = 0
    await asyncio.sleep(0.01)
    async with talking(w) as socket:  # the probe
        assert circuit.report().state == "Closed"
        assert await says(socket, "hello") == "HELLO"
    assert [transition.after for transition in w.recorded.transitions] == ["Open", "HalfOpen", "Closed"]


async def test_a_handshake_that_fails_is_not_tried_again_and_nothing_stands_in_for_it(w: World) -> None:
    async def fails(exchange: Exchange) -> None:
        await exchange.answer(500, b"not now")

    w.tool.script = fails
    static = snapshot.StaticFallback("instead")
    w.install(upgrade="Tunnel", tool_rules=rules(fallback=static, retry=retry()))
    agent = await w.agent()
    answer = await agent.request("GET", PLACE, None, ASKING)
    assert (answer.status, answer.body) == (500, b"not now")
    call = await w.recorded_call()
    assert (call.attempts, call.fallback) == (1, None)


async def test_an_open_circuit_refuses(w: World) -> None:
    async def fails(exchange: Exchange) -> None:
        await exchange.answer(500, b"")

    w.tool.script = fails
    w.install(upgrade="Tunnel", tool_rules=rules(breaker=breaker(1)))
    agent = await w.agent()
    assert (await agent.request("GET", PLACE, None, ASKING)).status == 500
    assert await refusal(w) == (503, "CircuitOpen")
    assert len(w.tool.seen) == 1


async def test_the_deadline_is_for_the_handshake_alone(w: World, s: Sockets) -> None:
    w.install(upgrade="Tunnel", port=s.port, tool_rules=rules(idle_ms=9_000))
    async with talking(w) as socket:
        w.turn(20)
        await asyncio.sleep(0.05)
        assert await says(socket, "hello") == "HELLO"

    async def never(exchange: Exchange) -> None:
        await exchange.closed()

    w.tool.script = never
    w.install(upgrade="Tunnel", tool_rules=rules(total_ms=50))
    assert await refusal(w) == (504, "TotalTimeout")


async def test_a_drain_does_not_wait_for_it(s: Sockets) -> None:
    async with world() as w:
        w.install(upgrade="Tunnel", port=s.port)
        agent = await w.agent()
        await agent.send("GET", PLACE, None, ASKING)
        assert (await agent.head()).status == 101
        await asyncio.wait_for(w.listener.drain(60), 20)
        (passed,) = w.recorded.passed
        assert passed.error == "the sidecar is shutting down"
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await agent.reader.readexactly(1)
        assert len(w.recorded.calls) == 1
        await until(lambda: s.ended)
        await nothing_is_left(w)


async def test_one_in_which_nothing_moves_is_cut(s: Sockets) -> None:
    async with world(Limits(tunnel_idle_s=0.2)) as w:
        w.install(upgrade="Tunnel", port=s.port)
        async with talking(w) as socket:
            assert (await socket.receive(timeout=20)).type in {WSMsgType.CLOSED, WSMsgType.ERROR}
        await until(lambda: w.recorded.passed)
        assert w.recorded.passed[0].error == "nothing moved for 0 s"


async def test_there_are_only_so_many(s: Sockets) -> None:
    async with world(Limits(tunnels=1)) as w:
        w.install(upgrade="Tunnel", port=s.port)
        async with talking(w):
            assert await refusal(w) == (429, "ConcurrencyLimit")
        await until(lambda: w.recorded.passed)
        async with talking(w) as socket:
            assert await says(socket, "hello") == "HELLO"


async def test_who_does_not_read_is_waited_for(w: World) -> None:
    """The buffers on the way fill, and then the other side has to wait."""
    sent = 0

    async def floods(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.raw(AGREES.encode())
        while True:
            await exchange.raw(bytes(65536))
            sent += 65536

    w.tool.script = floods
    agent = await w.agent()
    await agent.send("GET", PLACE, None, ASKING)
    agent.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: w.recorded.calls)
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.1)
    assert 0 < sent < 32 * 2**20
    agent.writer.transport.abort()
    await until(lambda: w.recorded.passed)


def _request(headers: list[tuple[str, str]]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"GET {PLACE} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
