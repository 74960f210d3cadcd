"""A certificate authority that lives and dies with the process. Its keys are in memory only, and so are the leaves'."""

import datetime as dt
import ipaddress
import os
import secrets
import ssl
from collections import OrderedDict
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from toolpolicy_sidecar.clock import Clock

LEAVES = 256
"""Names that leaves are kept for; the one that was not used for the longest time goes first."""
LEAF_LIFE = dt.timedelta(days=7)
LEAF_USED_S = 24 * 3600.0
"""A leaf is not used for longer: the agent's clock may be days wrong."""
_LIFE = dt.timedelta(days=5 * 365)
_SKEW = dt.timedelta(days=1)


class _Leaf(NamedTuple):
    context: ssl.SSLContext
    made: float


class Authority:
    """Importing this module is what costs (some 10 MB): it is done only where TLS is intercepted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"toolpolicy sidecar {secrets.token_hex(4)}")
        self._leaves: OrderedDict[str, _Leaf] = OrderedDict()
        public = self._key.public_key()
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
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        made = (
            self._builder(self._name, public, _LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(self._identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = made.public_bytes(serialization.Encoding.PEM)
        """PEM: what the agent has to trust."""

    def context(self, host: str) -> ssl.SSLContext:
        """Of a server that is `host`, a name or an IP address, for clients that trust this authority."""
        now = self._clock.monotonic()
        leaf = self._leaves.get(host)
        if leaf is None or now - leaf.made > LEAF_USED_S:
            leaf = self._leaves[host] = _Leaf(self._context(host), now)
            if len(self._leaves) > LEAVES:
                self._leaves.popitem(last=False)
        self._leaves.move_to_end(host)
        return leaf.context

    def _context(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        key = self._leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # The ssl module reads keys from files only: this one is memory with a name.
        handle = os.memfd_create("leaf", os.MFD_CLOEXEC)
        try:
            with open(handle, "wb", closefd=False) as file:
                file.write(key + self._leaf(host))
            context.load_cert_chain(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
        return context

    def _leaf(self, host: str) -> bytes:
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        public = self._leaf_key.public_key()
        made = (
            self._builder(_name("toolpolicy"), public, LEAF_LIFE)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    def _builder(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, life: dt.timedelta
    ) -> x509.CertificateBuilder:
        now = dt.datetime.fromtimestamp(self._clock.unix_ms() / 1000, dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + life)
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common)])
