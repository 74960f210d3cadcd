"""The authority of intercepted TLS: how it is born, what it may vouch for, and that it outlives a restart."""

import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.forward.proxied import WORLD_CA, handshake, trusting
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.interception import found, kept, trust_bundle
from toolpolicy_sidecar.interception.authority import Authority
from toolpolicy_sidecar.interception.birth import bear

IN_MEMORY = Path("/dev/shm")  # noqa: S108 -- asked for what it is
needs_memory = pytest.mark.skipif(not IN_MEMORY.is_dir(), reason="needs a tmpfs at /dev/shm")


def constrained(*domains: str) -> Authority:
    return Authority(SystemClock(), bear(domains, SystemClock().unix_ms()))


async def test_a_process_of_its_own_makes_one() -> None:
    born = await found.find(None, ["corp.example"])
    authority = Authority(SystemClock(), born)
    assert found.certificate(born) == authority.certificate
    assert b"PRIVATE" not in authority.certificate
    client = trusting(authority.certificate)
    assert handshake(authority.context("kb.corp.example"), client, "kb.corp.example")


def test_nothing_that_the_sidecar_starts_with_loads_cryptography() -> None:
    code = "import toolpolicy_sidecar.process, sys; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("host", ["corp.example", "kb.corp.example", "a.b.corp.example"])
def test_a_constrained_one_vouches_for_its_domains(host: str) -> None:
    authority = constrained("svc", "corp.example")
    assert authority.vouches_for(host)
    client = trusting(authority.certificate)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    assert handshake(authority.context(host), client, host)


@pytest.mark.parametrize("host", ["api.openai.com", "notcorp.example", "127.0.0.1", "::1"])
def test_and_clients_believe_it_nothing_else(host: str) -> None:
    authority = constrained("svc", "corp.example")
    assert not authority.vouches_for(host)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"permitted subtree|excluded subtree"):
        handshake(authority.context(host), trusting(authority.certificate), host)


def test_an_unconstrained_one_vouches_for_all() -> None:
    assert Authority(SystemClock()).vouches_for("127.0.0.1")


@needs_memory
async def test_the_next_process_of_a_pod_is_trusted_by_the_same_agent(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = IN_MEMORY / tmp_path_factory.mktemp("authority").name
    folder.mkdir()
    try:
        first = await found.find(folder, [])
        assert await found.find(folder, []) == first
        (file,) = folder.iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


async def test_its_key_is_written_to_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 8:1 / / rw - ext4 /dev/sda rw\n", encoding="utf-8")
    monkeypatch.setattr(kept, "_MOUNTS", mounts)
    folder = tmp_path / "on-disk"
    folder.mkdir()
    assert await found.find(folder, [])
    assert list(folder.iterdir()) == []
    assert "the authority is lost with this process" in caplog.text


MOUNTS = """\
22 1 0:20 / / rw,relatime shared:1 - overlay overlay rw
30 22 0:25 / /run rw shared:5 - tmpfs tmpfs rw,size=1k
31 30 8:1 /x /run/disk rw - ext4 /dev/sda1 rw
40 22 0:30 / /keys rw - ext4 /dev/sda2 rw
41 22 0:31 / /keys rw master:2 - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("folder", "memory"),
    [("/run/a", True), ("/run/disk/a", False), ("/keys", True), ("/keysandmore", False), ("/var", False)],
)
def test_what_is_in_memory(folder: str, *, memory: bool) -> None:
    assert kept.in_memory(Path(folder), MOUNTS) is memory


def test_extra_roots_of_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As the kubelet mounts a ConfigMap: files are links into a folder with two dots."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "ca.crt").write_bytes(WORLD_CA.certificate)
    (tmp_path / "ca.crt").symlink_to("..data/ca.crt")
    (tmp_path / "broken.pem").write_bytes(WORLD_CA.certificate.replace(b"MII", b"AAA", 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert trust_bundle.extra_roots(tmp_path) == WORLD_CA.certificate
    assert caplog.text.count("extra roots left out") == 2


def test_no_extra_roots_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert trust_bundle.extra_roots(tmp_path / "none") == b""
    assert "no extra roots found" in caplog.text
