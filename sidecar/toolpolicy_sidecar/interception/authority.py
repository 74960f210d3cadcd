"""Certificates of the hosts that policies name, by an authority that the agent trusts. Keys are in memory only."""

import datetime as dt
import ipaddress
import os
import ssl
from collections import OrderedDict
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.interception.birth import SKEW, bear

LEAVES = 256
"""Names that leaves are kept for; the one that was not used for the longest time goes first."""
LEAF_LIFE = dt.timedelta(days=7)
LEAF_USED_S = 24 * 3600.0
"""A leaf is not used for longer: the agent's clock may be days wrong."""


class _Leaf(NamedTuple):
    context: ssl.SSLContext
    made: float


class Authority:
    """Importing this module is what costs (some 10 MB): it is done only where TLS is intercepted."""

    def __init__(self, clock: Clock, born: bytes | None = None) -> None:
        """`born`: as `birth.bear` gives it; a new one by default. Raises ValueError."""
        self._clock = clock
        born = bear((), clock.unix_ms()) if born is None else born
        key = serialization.load_pem_private_key(born, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is no elliptic curve key")  # noqa: TRY004 -- a wrong value
        self._key = key
        self._own = x509.load_pem_x509_certificate(born)
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._leaves: OrderedDict[str, _Leaf] = OrderedDict()
        self._domains = _permitted(self._own)
        self.certificate = self._own.public_bytes(serialization.Encoding.PEM)
        """PEM: what the agent has to trust."""

    def vouches_for(self, host: str) -> bool:
        """Clients would refuse the certificate of a host that this authority is constrained not to speak for."""
        return self._domains is None or any(
            host == domain or host.endswith(f".{domain}") for domain in self._domains
        )

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
        now = dt.datetime.fromtimestamp(self._clock.unix_ms() / 1000, dt.UTC)
        signer = x509.SubjectKeyIdentifier.from_public_key(self._own.public_key())
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "toolpolicy")]))
            .issuer_name(self._own.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(now + LEAF_LIFE)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)


def _permitted(certificate: x509.Certificate) -> list[str] | None:
    """None: any name."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except x509.ExtensionNotFound:
        return None
    return [name.value for name in found or () if isinstance(name, x509.DNSName)]
