"""TLS to the policies' servers, ended in the sidecar: with real clients, and what each side must never accept."""

import asyncio
import os
import shutil
import ssl
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import pytest

from tests.unit.datapath.loopback import MCP_HEADERS, Exchange, redaction, tools_call, until
from tests.unit.forward.proxied import SIDECAR_CA, WORLD_CA, Proxied, handshake, trusting
from toolpolicy_api import snapshot
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.interception import authority as module
from toolpolicy_sidecar.interception import trust_bundle
from toolpolicy_sidecar.interception.authority import LEAF_USED_S, LEAVES, Authority


class Secured(NamedTuple):
    """The policy's servers are at https://localhost:port."""

    p: Proxied
    url: str
    proxy: str

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(proxy=self.proxy, verify=trusting(SIDECAR_CA.certificate), timeout=20)


@pytest.fixture
async def s(p: Proxied) -> AsyncIterator[Secured]:
    tool = p.w.tool
    await tool.stop()
    tool.tls = WORLD_CA.context("localhost")
    await tool.start()
    p.w.pool.tls.default = p.forward._pool.tls.default = trusting(WORLD_CA.certificate)
    p.forward.interception.authority = SIDECAR_CA
    p.w.install(scheme="https", host="localhost", redaction=redaction())
    yield Secured(p, f"https://localhost:{tool.port}", f"http://127.0.0.1:{p.port}")
    await until(lambda: not p.forward._http.open)  # nothing of any tunnel is left


async def test_httpx_makes_calls_of_tools(s: Secured) -> None:
    async def leaks(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"key":"sk-abcdefgh1"}')

    s.p.w.tool.script = leaks
    async with s.client() as client:
        for number in range(3):
            answer = await client.get(f"{s.url}/base/v1/tickets/{number}")
            assert answer.json() == {"key": "[key]"}
        answer = await client.post(f"{s.url}/mcp", content=tools_call(), headers=dict(MCP_HEADERS))
    assert s.p.forward.interception.opened == 1  # one connection served them all
    assert s.p.w.tool.seen[0].header("Host") == f"localhost:{s.p.w.tool.port}"
    records = s.p.w.recorded.calls
    assert [record.tool for record in records] == ["ticket", "ticket", "ticket", "search"]
    assert records[0].redacted_response == {"key": 1}
    assert s.p.w.recorded.passed == []


async def test_other_paths_of_a_named_host_pass(s: Secured) -> None:
    async with s.client() as client:
        answer = await client.get(f"{s.url}/.well-known/oauth-protected-resource/mcp")
    assert answer.json() == {"ok": True}
    await until(lambda: s.p.w.recorded.passed)
    assert s.p.w.recorded.passed[0].via == "Request"


async def test_a_large_body_goes_both_ways(s: Secured) -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.answer(200, exchange.seen.body, "application/octet-stream")

    s.p.w.install(scheme="https", host="localhost")
    s.p.w.tool.script = echo
    body = os.urandom(2 * 1024 * 1024)
    async with s.client() as client:
        assert (await client.post(f"{s.url}/base/v1/tickets/1", content=body)).content == body


async def test_a_request_in_the_last_packet_of_the_handshake_is_not_lost(s: Secured) -> None:
    """A client may send it with its Finished."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(SIDECAR_CA.certificate).wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await asyncio.open_connection("127.0.0.1", s.p.port)
    port = s.p.w.tool.port
    writer.write(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(65536))
    tls.write(f"GET /base/v1/tickets/1 HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    writer.write(outgoing.read())  # Finished and request at once
    answer = b""
    async with asyncio.timeout(20):
        while b'{"ok":true}' not in answer:
            incoming.write(await reader.read(65536))
            try:
                answer += tls.read()
            except ssl.SSLWantReadError:
                continue
    writer.close()


async def test_an_agent_that_does_not_trust_us_is_told_by_tls(
    s: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    async with httpx.AsyncClient(proxy=s.proxy, verify=trusting(WORLD_CA.certificate)) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"{s.url}/base/v1/tickets/1")
    await until(lambda: s.p.forward.interception.handshakes_failed)
    assert s.p.w.tool.connections == 0
    assert "does it trust the bundle?" in caplog.text


async def test_a_server_that_nobody_vouches_for_is_not_called(s: Secured) -> None:
    s.p.w.pool.tls.default = trusting(SIDECAR_CA.certificate)
    async with s.client() as client:
        answer = await client.get(f"{s.url}/base/v1/tickets/1")
    assert (answer.status_code, answer.json()["reason"]) == (502, "TlsFailed")


async def test_without_a_bundle_tls_to_a_named_host_is_refused(s: Secured) -> None:
    s.p.forward.interception.authority = None
    agent = await s.p.agent()
    answer = await agent.request("CONNECT", f"localhost:{s.p.w.tool.port}")
    assert (answer.status, answer.json["reason"]) == (403, "EgressDenied")
    assert "--trust-bundle" in answer.json["detail"]


async def test_tls_to_other_hosts_is_end_to_end(s: Secured) -> None:
    await s.p.other.stop()
    s.p.other.tls = WORLD_CA.context("localhost")
    await s.p.other.start()
    async with httpx.AsyncClient(proxy=s.proxy, verify=trusting(WORLD_CA.certificate)) as client:
        assert (await client.get(f"https://localhost:{s.p.other.port}/x")).json() == {"ok": True}
    await until(lambda: s.p.w.recorded.passed)
    assert s.p.w.recorded.passed[0].via == "Tunnel"


async def test_what_is_no_tls_is_hung_up_on(s: Secured) -> None:
    agent = await s.p.agent()
    await agent.send("CONNECT", f"localhost:{s.p.w.tool.port}")
    assert (await agent.head()).status == 200
    await agent.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(20):
        while await agent.reader.read(1024):
            pass
    assert s.p.forward.interception.handshakes_failed == 1


async def test_tls_that_comes_with_connect_is_refused(s: Secured) -> None:
    agent = await s.p.agent()
    await agent.raw(f"CONNECT localhost:{s.p.w.tool.port} HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01".encode())
    assert (await agent.answer()).json["reason"] == "MalformedRequest"


async def test_an_agent_that_hangs_up_cancels_its_call(s: Secured) -> None:
    gone = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.closed()
        gone.set()

    s.p.w.tool.script = waits
    async with s.client() as client:
        asking = asyncio.ensure_future(client.get(f"{s.url}/base/v1/tickets/1"))
        await until(lambda: s.p.w.tool.seen)
        asking.cancel()
    async with asyncio.timeout(20):
        await gone.wait()
    assert (await s.p.w.recorded_call()).reason == "ClientGone"


# Clients that nobody changed: all they have is the environment


@pytest.fixture
def environment(s: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    bundle = tmp_path / "bundle.pem"
    trust_bundle.write(bundle, SIDECAR_CA.certificate, trust_bundle.system_roots())
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, s.proxy)
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(bundle))
    return bundle


@pytest.mark.usefixtures("environment")
async def test_httpx_by_its_environment(s: Secured) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{s.url}/base/v1/tickets/1")).json() == {"ok": True}
    assert (await s.p.w.recorded_call()).tool == "ticket"


@pytest.mark.usefixtures("environment")
async def test_urllib_by_its_environment(s: Secured) -> None:
    def get() -> bytes:
        # Not urlopen: its opener is made once in a process, with the environment of that moment.
        with urllib.request.build_opener().open(f"{s.url}/base/v1/tickets/1", timeout=20) as answer:
            body: bytes = answer.read()
            return body

    assert await asyncio.to_thread(get) == b'{"ok":true}'
    assert (await s.p.w.recorded_call()).tool == "ticket"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.usefixtures("environment")
async def test_curl_by_its_environment(s: Secured) -> None:
    for url in (s.url, f"http://127.0.0.1:{s.p.other.port}"):
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", "-m", "20", f"{url}/base/v1/tickets/1", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert out == b'{"ok":true}'
    assert (await s.p.w.recorded_call()).tool == "ticket"
    assert [seen.target for seen in s.p.other.seen] == ["/base/v1/tickets/1"]


# The authority and its bundle


class Days:
    """A clock in days."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def unix_ms(self) -> int:
        return SystemClock().unix_ms()


@pytest.mark.parametrize("host", ["kb.internal", "127.0.0.1", "::1", "a_b.svc"])
def test_a_leaf_is_for_its_host_alone(host: str) -> None:
    client = trusting(SIDECAR_CA.certificate)
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 has it by default
    assert handshake(SIDECAR_CA.context(host), client, host) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(SIDECAR_CA.context(host), client, "other.internal")


def test_two_processes_do_not_trust_each_other() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(WORLD_CA.context("kb"), trusting(SIDECAR_CA.certificate), "kb")


def test_leaves_are_kept_bounded_and_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Days()
    authority = Authority(clock)
    first = authority.context("a")
    assert authority.context("a") is first
    clock.now_s = LEAF_USED_S + 1
    assert authority.context("a") is not first
    monkeypatch.setattr(module, "LEAVES", 3)
    assert LEAVES > 3
    kept = authority.context("a")
    for name in ("b", "c", "a", "d"):
        authority.context(name)
    assert list(authority._leaves) == ["c", "a", "d"]
    assert authority.context("a") is kept


def test_the_bundle_holds_the_systems_roots_and_our_certificate_and_no_key(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"of an earlier process")
    trust_bundle.write(bundle, SIDECAR_CA.certificate, WORLD_CA.certificate)
    context = ssl.create_default_context(cafile=str(bundle))
    assert handshake(SIDECAR_CA.context("kb"), context, "kb")
    assert handshake(WORLD_CA.context("kb"), context, "kb")
    assert b"PRIVATE" not in bundle.read_bytes()
    assert bundle.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [bundle]


async def test_what_a_named_server_says_of_itself_is_fetched_with_its_own_tls(s: Secured) -> None:
    s.p.forward._pool.tls.default = None  # the system's roots know nothing of it
    policy = s.p.w.policy(scheme="https", host="localhost")
    tls = snapshot.ServerTls(ca_bundle=WORLD_CA.certificate.decode())
    servers = tuple(msgspec.structs.replace(server, tls=tls) for server in policy.servers)
    s.p.w.install_policy(msgspec.structs.replace(policy, servers=servers))
    async with s.client() as client:
        answer = await client.get(f"{s.url}/.well-known/oauth-protected-resource/mcp")
    assert answer.json() == {"ok": True}
