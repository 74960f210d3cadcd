"""What a policy says of the TLS to a server, with real TLS on both sides."""

import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.datapath.loopback import World, world
from tests.unit.forward.proxied import SIDECAR_CA, trusting
from toolpolicy_api.snapshot import ServerTls
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.interception.authority import Authority
from toolpolicy_sidecar.interception.birth import bear
from toolpolicy_sidecar.plan import InvalidSnapshot
from toolpolicy_sidecar.upstream.tls import Contexts

WORLD_BORN = bear((), SystemClock().unix_ms())
WORLD = Authority(SystemClock(), WORLD_BORN)
OTHERS, OURS = SIDECAR_CA.certificate.decode(), WORLD.certificate.decode()


def install(w: World, kb: ServerTls | None, api: ServerTls | None = None) -> None:
    """Both servers at https://localhost."""
    policy = w.policy(scheme="https", host="localhost")
    servers = tuple(
        msgspec.structs.replace(server, tls={"kb": kb, "api": api}[server.name]) for server in policy.servers
    )
    w.install_policy(msgspec.structs.replace(policy, servers=servers))


class Identity(NamedTuple):
    certificate: bytes
    key: bytes
    serial: int


def identity(password: bytes = b"") -> Identity:
    """A client that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "agent")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        locked = serialization.BestAvailableEncryption(password)
    pem = serialization.Encoding.PEM
    return Identity(
        certificate.public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked),
        certificate.serial_number,
    )


def mount(folder: Path, version: str, known: Identity) -> None:
    """As the kubelet does it: a folder for each version, and links that lead to the newest."""
    made = folder / version / "mine"
    made.mkdir(parents=True)
    (made / "tls.crt").write_bytes(known.certificate)
    (made / "tls.key").write_bytes(known.key)
    (folder / "new").symlink_to(version)
    (folder / "new").replace(folder / "..data")
    if not (folder / "mine").is_symlink():
        (folder / "mine").symlink_to("..data/mine")


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        await made.tool.stop()
        made.tool.tls = WORLD.context("localhost")
        await made.tool.start()
        yield made


async def status(w: World, path: str = "/api/v1/tickets/1") -> int:
    agent = await w.agent()
    return (await agent.request("GET", path)).status


async def test_a_ca_bundle_vouches_for_its_server(w: World) -> None:
    install(w, None, ServerTls(ca_bundle=OURS))
    agent = await w.agent()
    assert (await agent.request("GET", "/api/v1/tickets/1")).json == {"ok": True}
    assert (await agent.call()).meta["toolpolicy.dev/reason"] == "TlsFailed"  # the other server has none


async def test_and_nobody_else_does(w: World) -> None:
    """Not those either whom every other server is trusted by."""
    w.pool.tls.default = trusting(WORLD.certificate)
    install(w, None, ServerTls(ca_bundle=OTHERS))
    agent = await w.agent()
    answer = await agent.request("GET", "/api/v1/tickets/1")
    assert (answer.status, answer.json["reason"]) == (502, "TlsFailed")
    assert "error" not in (await agent.call()).json


async def test_extra_roots_count_where_there_is_no_bundle(w: World) -> None:
    w.pool.tls = Contexts(OURS)
    install(w, None, ServerTls(server_name="localhost"))
    assert await status(w) == 200
    install(w, None, ServerTls(ca_bundle=OTHERS))
    assert await status(w) == 502


async def test_a_server_name_is_asked_for_and_verified(w: World) -> None:
    asked: list[str | None] = []
    w.tool.tls = Authority(SystemClock(), WORLD_BORN).context("kb.prod.internal")
    w.tool.tls.sni_callback = lambda _socket, name, _context: asked.append(name)
    install(w, None, ServerTls(ca_bundle=OURS, server_name="kb.prod.internal"))
    await w.tool.stop()
    await w.tool.start()
    install(w, None, ServerTls(ca_bundle=OURS, server_name="kb.prod.internal"))
    assert await status(w) == 200
    assert asked == ["kb.prod.internal"]
    assert w.tool.seen[0].header("Host") == f"localhost:{w.tool.port}"
    install(w, None, ServerTls(ca_bundle=OURS))
    assert await status(w) == 502


class Asks:
    """A server that asks for a client certificate, and takes those that it knows."""

    def __init__(self, w: World, *known: Identity) -> None:
        context = Authority(SystemClock(), WORLD_BORN).context("localhost")  # one of its own, to be changed
        context.verify_mode = ssl.CERT_REQUIRED
        for one in known:
            context.load_verify_locations(cadata=one.certificate.decode())
        w.tool.tls = context

    async def start(self, w: World) -> None:
        await w.tool.stop()
        await w.tool.start()


SHOWN = ServerTls(ca_bundle=OURS, client_certificate="mine")


async def test_a_client_certificate_is_shown_by_the_servers_that_have_one(w: World, tmp_path: Path) -> None:
    ours = identity()
    mount(tmp_path, "..1", ours)
    await Asks(w, ours).start(w)
    w.pool.tls = Contexts(client_certificates=tmp_path)
    install(w, ServerTls(ca_bundle=OURS), SHOWN)
    assert await status(w) == 200
    agent = await w.agent()
    answer = await agent.call()  # of one origin, but never over a connection of the other
    assert answer.json["result"]["isError"]


async def test_a_renewed_one_is_shown_on_new_connections(w: World, tmp_path: Path) -> None:
    first, second = identity(), identity()
    mount(tmp_path, "..1", first)
    await Asks(w, second).start(w)
    w.pool.tls = Contexts(client_certificates=tmp_path)
    install(w, None, SHOWN)
    assert await status(w) == 502
    mount(tmp_path, "..2", second)
    assert await status(w) == 200


@pytest.mark.parametrize("folder", ["none", "empty"])
async def test_without_it_there_is_no_call(w: World, tmp_path: Path, folder: str) -> None:
    """Fail closed, with words, and for this server only."""
    if folder == "empty":
        w.pool.tls = Contexts(client_certificates=tmp_path)
    install(w, ServerTls(ca_bundle=OURS), SHOWN)
    agent = await w.agent()
    answer = await agent.request("GET", "/api/v1/tickets/1")
    assert (answer.status, answer.json["reason"]) == (502, "TlsFailed")
    assert "Secret mine, is not mounted here" in answer.json["detail"]
    assert w.tool.connections == 0
    assert "error" not in (await agent.call()).json


async def test_an_encrypted_key_is_told_and_nobody_is_asked(w: World, tmp_path: Path) -> None:
    mount(tmp_path, "..1", identity(b"password"))
    w.pool.tls = Contexts(client_certificates=tmp_path)
    install(w, None, SHOWN)
    agent = await w.agent()
    answer = await agent.request("GET", "/api/v1/tickets/1")
    assert "its client certificate cannot be used" in answer.json["detail"]


async def test_a_snapshot_with_no_certificates_is_refused_whole(w: World) -> None:
    with pytest.raises(InvalidSnapshot, match=r"servers\[1\]\.tls\.ca_bundle: no certificates in PEM"):
        install(w, None, ServerTls(ca_bundle="nothing"))
