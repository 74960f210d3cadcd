"""A certificate authority comes into being. `python -m` of this prints it, so that what it takes to make one, 15 MiB of
libraries, ends with the process that made it. Arguments: the only domains that it may vouch for; none: any name."""

import datetime as dt
import ipaddress
import secrets
import sys
import time
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LIFE = dt.timedelta(days=5 * 365)
SKEW = dt.timedelta(days=1)
"""The agent's clock may be behind ours."""
_EVERY_ADDRESS = [x509.IPAddress(ipaddress.ip_network(text)) for text in ("0.0.0.0/0", "::/0")]


def bear(domains: Sequence[str], unix_ms: int) -> bytes:
    """PEM: the private key, then the certificate.

    With `domains` the certificate is constrained to these and what is below them, and to no IP address (RFC 5280,
    4.2.1.10): clients refuse whatever else its key may sign."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, f"toolpolicy {secrets.token_hex(4)}")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    now = dt.datetime.fromtimestamp(unix_ms / 1000, dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if domains:
        permitted = [x509.DNSName(domain) for domain in domains]
        certificate = certificate.add_extension(
            x509.NameConstraints(permitted, _EVERY_ADDRESS), critical=True
        )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


if __name__ == "__main__":
    sys.stdout.buffer.write(bear(sys.argv[1:], time.time_ns() // 1_000_000))
