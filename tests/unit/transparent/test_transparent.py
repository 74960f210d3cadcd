"""Redirected connections, in a network of the test's own: real nftables rules, curl as the agent, by another user."""

import asyncio
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop

from tests.unit.datapath.loopback import Exchange, Tool, redaction, rules, until
from tests.unit.forward.proxied import SIDECAR_CA, WORLD_CA, Proxied, proxied, trusting
from toolpolicy_sidecar import redirect
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.transparent import TransparentListener

AGENT = 61904
"""The user of the agent; the sidecar is root here."""
NEAR, NEAR6, NAMED = "192.0.2.1", "fd00::1", "192.0.2.2"
"""Addresses of this network, none of them loopback."""
_ADDRESSES = f"""\
link set lo up
addr add {NEAR}/32 dev lo
addr add {NAMED}/32 dev lo
addr add {NEAR6}/128 dev lo nodad
route add default dev lo
"""
CUT = {7, 35, 52, 56}
"""curl's exit codes of connections that are reset: at once, in the handshake, before an answer, in it."""
_NEW_NETWORK = 0x40000000
needs = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("curl"),
    reason="needs root, nft and curl: the kernel is told to redirect",
)
pytestmark = needs


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def network() -> Iterator[None]:
    """This thread, and what it starts, is in a network of its own until the end of the test."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(_NEW_NETWORK) != 0:
        os.close(home)
        pytest.skip(f"no network of our own: {os.strerror(ctypes.get_errno())}")
    try:
        subprocess.run(["ip", "-batch", "-"], input=_ADDRESSES, text=True, check=True)
        yield
    finally:
        libc.setns(home, _NEW_NETWORK)
        os.close(home)


class Placed(Tool):
    """At an address that is not loopback."""

    def __init__(self, host: str, port: int = 0) -> None:
        super().__init__()
        self.host, self.port = host, port

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, limit=2**20, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]


class Redirected(NamedTuple):
    p: Proxied
    port: int
    bundle: Path

    async def curl(self, *arguments: str) -> tuple[int, bytes]:
        """As the agent: exit code and what it printed."""
        command = ["curl", "-sS", "-m", "20", "--noproxy", "*", "--cacert", str(self.bundle), *arguments]
        process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1, user=AGENT, cwd="/")
        out, _ = await process.communicate()
        return process.returncode or 0, out

    async def at(self, address: str, url: str, *more: str) -> tuple[int, bytes]:
        """The agent believes that the url's host is at this address."""
        return await self.curl("--connect-to", f"::{address}:", *more, url)


@pytest.fixture
async def r(network: None) -> AsyncIterator[Redirected]:
    # Not pytest's folder: no other user can go into it.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(SIDECAR_CA.certificate + WORLD_CA.certificate)
        file.flush()
        async with redirected(Path(file.name)) as made:
            yield made


@contextlib.asynccontextmanager
async def redirected(bundle: Path) -> AsyncIterator[Redirected]:
    async with proxied(Limits(handshake_s=0.5)) as p:
        listener = TransparentListener(
            p.w.current, p.forward, Limits(handshake_s=0.5), SystemClock(), p.w.recorded
        )
        port = listener.start(0)
        assert redirect.run([f"--port={port}", "--uid=0", "--past=192.0.2.9,kb.internal"]) == 0
        p.forward.interception.authority = SIDECAR_CA
        try:
            yield Redirected(p, port, bundle)
        finally:
            await listener.close()


async def secure(p: Proxied) -> str:
    """The policy's servers are at https://localhost:port."""
    tool = p.w.tool
    await tool.stop()
    tool.tls = WORLD_CA.context("localhost")
    await tool.start()
    p.w.pool.tls.default = trusting(WORLD_CA.certificate)
    p.w.install(scheme="https", host="localhost", redaction=redaction())
    return f"https://localhost:{tool.port}"


@contextlib.asynccontextmanager
async def placed(host: str, port: int = 0, tls_name: str = "") -> AsyncIterator[Placed]:
    tool = Placed(host, port)
    tool.tls = WORLD_CA.context(tls_name) if tls_name else None
    await tool.start()
    try:
        yield tool
    finally:
        await tool.stop()


@pytest.mark.parametrize("address", [NEAR, f"[{NEAR6}]"])
async def test_tls_goes_by_its_name(r: Redirected, address: str) -> None:
    url = await secure(r.p)
    assert await r.at(address, f"{url}/base/v1/tickets/1") == (0, b'{"ok":true}')
    assert (await r.p.w.recorded_call()).tool == "ticket"
    assert r.p.forward.interception.opened == 1


@pytest.mark.parametrize("address", [NEAR, f"[{NEAR6}]"])
async def test_http_goes_by_its_host(r: Redirected, address: str) -> None:
    r.p.w.install(host="localhost", tool_rules=rules(enabled=False))
    url = f"http://localhost:{r.p.w.tool.port}/base/v1/tickets/1"
    code, out = await r.at(address, url)
    assert (code, b"ToolDisabled" in out) == (0, True)
    assert r.p.w.tool.seen == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_websocket_goes_where_its_policy_lets_it(r: Redirected, scheme: str) -> None:
    async def agrees(exchange: Exchange) -> None:
        await exchange.raw(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05hello\x88\x00"
        )
        exchange._writer.close()

    if scheme == "https":
        await secure(r.p)
    r.p.w.tool.script = agrees
    r.p.w.install(scheme=scheme, host="localhost", upgrade="Tunnel")
    url = f"{scheme}://localhost:{r.p.w.tool.port}/base/v1/tickets/1"
    asking = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    code, out = await r.at(NEAR, url, "--http1.1", *(word for header in asking for word in ("-H", header)))
    assert (code, out) == (0, b"\x81\x05hello\x88\x00")
    await until(lambda: r.p.w.recorded.passed)
    assert [passed.via for passed in r.p.w.recorded.passed] == ["WebSocket"]
    assert (await r.p.w.recorded_call()).status == 101


async def test_what_no_policy_names_reaches_its_own_address_untouched(r: Redirected) -> None:
    async with placed(NEAR, tls_name="elsewhere.example") as other:
        url = f"https://elsewhere.example:{other.port}/x"
        assert await r.at(NEAR, url) == (0, b'{"ok":true}')
        await until(lambda: r.p.w.recorded.passed)
        record = r.p.w.recorded.passed[0]
        assert (record.via, record.destination) == ("Tunnel", f"{NEAR}:{other.port}")


async def test_so_does_another_name_at_the_port_of_a_server(r: Redirected) -> None:
    await secure(r.p)
    async with placed(NEAR, r.p.w.tool.port, "elsewhere.example") as other:
        assert await r.at(NEAR, f"https://elsewhere.example:{other.port}/x") == (0, b'{"ok":true}')
        assert len(other.seen) == 1
    assert r.p.w.tool.seen == []


async def test_who_speaks_second_is_not_waited_for(r: Redirected) -> None:
    async with placed(NEAR) as other:
        other.greeting = b"220 ready\r\n"
        assert await r.curl(f"telnet://{NEAR}:{other.port}") == (0, b"220 ready\r\n")


async def test_the_address_of_a_server_is_not_reached_under_another_name(r: Redirected) -> None:
    """Nor without one: the policy would be passed by."""
    async with placed(NAMED, tls_name="elsewhere.example") as server:
        r.p.w.install(scheme="https", host=NAMED, port=server.port)
        for url in (
            f"https://elsewhere.example:{server.port}/x",
            f"http://elsewhere.example:{server.port}/x",
        ):
            code, _ = await r.at(NAMED, url)
            assert code in CUT
        assert server.connections == 0
    assert [refusal.reason for refusal in r.p.w.recorded.refusals] == ["EgressDenied"] * 2
    assert f"is the address of {NAMED}" in (r.p.w.recorded.refusals[0].error or "")


async def test_nor_by_a_second_request_with_another_host(r: Redirected) -> None:
    r.p.w.install(host="localhost")
    url = f"http://localhost:{r.p.w.tool.port}/base/v1/tickets/1"
    again = ("--next", "-sS", "--noproxy", "*", "--connect-to", f"::{NEAR}:", "-H", "Host: other", url)
    code, out = await r.curl("--connect-to", f"::{NEAR}:", url, *again)
    assert code == 0
    assert out.startswith(b'{"ok":true}')
    assert b"another host than the connection was made for" in out


async def test_a_silent_connection_at_the_port_of_a_server_is_ended(r: Redirected) -> None:
    r.p.w.install(host="localhost")
    code, out = await r.curl("--http0.9", f"telnet://{NEAR}:{r.p.w.tool.port}")
    assert (code in CUT, out) == (True, b"")
    assert r.p.w.recorded.refusals[0].reason == "MalformedRequest"
    assert "does not say where it goes" in (r.p.w.recorded.refusals[0].error or "")


async def test_deny_and_metadata(r: Redirected) -> None:
    async with placed(NEAR) as other:
        assert (await r.curl("http://169.254.169.254/latest/meta-data"))[0] in CUT
        r.p.w.install(egress_default="Deny")
        assert (await r.curl(f"http://{NEAR}:{other.port}/x"))[0] in CUT
        assert other.connections == 0
    assert [(refusal.reason, refusal.destination) for refusal in r.p.w.recorded.refusals] == [
        ("EgressDenied", "169.254.169.254:80"),
        ("EgressDenied", f"{NEAR}:{other.port}"),
    ]


async def test_without_a_policy_nothing_passes_unless_the_installation_says_so(r: Redirected) -> None:
    async with placed(NEAR) as other:
        r.p.w.current.runtime = None
        assert (await r.curl(f"http://{NEAR}:{other.port}/x"))[0] in CUT
        r.p.w.current.cold_start = "Passthrough"
        assert await r.curl(f"http://{NEAR}:{other.port}/x") == (0, b'{"ok":true}')
    assert r.p.forward.unpoliced == 1


async def test_a_tunnel_ends_when_a_server_is_named_at_its_port(r: Redirected) -> None:
    release = asyncio.Event()
    async with placed(NEAR) as other:

        async def waits(exchange: object) -> None:
            await release.wait()

        other.script = waits
        asking = asyncio.ensure_future(r.curl(f"http://{NEAR}:{other.port}/x"))
        await until(lambda: other.seen)
        r.p.w.install(host="localhost", port=1)
        assert r.p.forward.tunnels.open == 1
        r.p.w.install(host="localhost", port=other.port)
        assert (await asking)[0] in CUT
        release.set()


async def test_the_sidecars_own_connections_are_let_alone(r: Redirected) -> None:
    async with placed(NEAR) as other:
        reader, writer = await asyncio.open_connection(NEAR, other.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in await reader.readline()
        writer.close()
    assert r.p.w.recorded.passed == []


async def test_who_comes_to_the_port_by_himself_goes_nowhere(
    r: Redirected, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", r.port)) as connection:
        connection.setblocking(False)  # noqa: FBT003 -- the name says it
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(connection, 1)
    assert "was not redirected here" in caplog.text
