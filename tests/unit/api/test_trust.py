"""Whom clients believe: real handshakes, in memory, with authorities as they are found in the field."""

import datetime as dt
import ssl
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.forward.proxied import handshake
from toolpolicy_api import trust

HOST = "kubernetes.default.svc"
PEM = serialization.Encoding.PEM


class Made(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> str:
        return self.certificate.public_bytes(PEM).decode()


def made(name: str, by: Made | None, *extensions: x509.ExtensionType) -> Made:
    """Nothing in it names a key, as on EKS."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        by.certificate.subject if by else subject,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        now - dt.timedelta(days=1),
        now + dt.timedelta(days=1),
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return Made(builder.sign(by.key if by else key, hashes.SHA256()), key)


AUTHORITY = x509.BasicConstraints(ca=True, path_length=None)
ROOT = made("kubernetes", None, AUTHORITY)
BETWEEN = made("between", ROOT, AUTHORITY)


def server(tmp_path: Path, by: Made) -> ssl.SSLContext:
    own = made("server", by, x509.SubjectAlternativeName([x509.DNSName(HOST)]))
    key = own.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "server.pem"
    file.write_bytes(key + own.pem().encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_an_authority_that_names_no_keys(tmp_path: Path) -> None:
    client = trust.servers(cadata=ROOT.pem())
    handshake(server(tmp_path, ROOT), client, HOST)
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # what newer Pythons begin with
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server(tmp_path, ROOT), client, HOST)


def test_an_intermediate_authority_is_enough(tmp_path: Path) -> None:
    handshake(server(tmp_path, BETWEEN), trust.servers(cadata=BETWEEN.pem()), HOST)


@pytest.mark.parametrize("host", ["other.default.svc", "10.0.0.1"])
def test_another_name_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(server(tmp_path, ROOT), trust.servers(cadata=ROOT.pem()), host)


def test_another_authority_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(
            server(tmp_path, ROOT), trust.servers(cadata=made("kubernetes", None, AUTHORITY).pem()), HOST
        )


def test_a_bundle_in_a_file(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.write_text(ROOT.pem(), encoding="ascii")
    handshake(server(tmp_path, ROOT), trust.servers(cafile=bundle), HOST)
