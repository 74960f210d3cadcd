"""TLS to servers: whom the sidecar trusts, and what it shows of itself."""

import ssl
from pathlib import Path
from typing import NamedTuple

from toolpolicy_api import trust
from toolpolicy_api.snapshot import ServerTls
from toolpolicy_sidecar.upstream.failure import TlsFailed
from toolpolicy_sidecar.upstream.origin import Origin

CONTEXTS = 256
"""Of servers with options of their own; there are no more in two policies."""


class _Made(NamedTuple):
    context: ssl.SSLContext
    certificate: Path | None
    """Where the client certificate was read from, as the kubelet's links led: another place when it was renewed."""


class Contexts:
    """Made when they are first needed: loading the system's roots takes time and memory."""

    def __init__(self, extra_roots: str = "", client_certificates: Path | None = None) -> None:
        """`extra_roots`: PEM, trusted besides the system's. `client_certificates`: has a folder for each
        Secret, with tls.crt and tls.key."""
        self._extra_roots, self._client_certificates = extra_roots, client_certificates
        self.default: ssl.SSLContext | None = None
        self._own: dict[ServerTls, _Made] = {}

    def context(self, origin: Origin) -> ssl.SSLContext:
        """Raises TlsFailed: there is no client certificate although the server is to be shown one."""
        if origin.tls is None:
            if self.default is None:
                self.default = self._trusting(None)
            return self.default
        certificate = self._certificate(origin, origin.tls.client_certificate)
        made = self._own.get(origin.tls)
        if made is None or made.certificate != certificate:
            if len(self._own) >= CONTEXTS:
                self._own.clear()
            made = _Made(self._trusting(origin.tls.ca_bundle), certificate)
            if certificate is not None:
                _show(made.context, certificate, origin)
            self._own[origin.tls] = made
        return made.context

    def _trusting(self, ca_bundle: str | None) -> ssl.SSLContext:
        context = trust.servers(cadata=ca_bundle)
        if ca_bundle is None and self._extra_roots:
            context.load_verify_locations(cadata=self._extra_roots)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _certificate(self, origin: Origin, secret: str | None) -> Path | None:
        """Raises TlsFailed."""
        if secret is None:
            return None
        folder = self._client_certificates
        try:
            # Both files behind one look at the link, which the kubelet moves when the Secret changes.
            return ((folder or Path()) / secret / "tls.crt").resolve(strict=True)
        except OSError:
            raise TlsFailed(
                origin,
                f"its client certificate, Secret {secret}, is not mounted here: does it exist, with tls.crt and"
                " tls.key, and was the pod started after the policy?",
            ) from None


def _show(context: ssl.SSLContext, certificate: Path, origin: Origin) -> None:
    """Raises TlsFailed."""
    try:
        # Without `password`, OpenSSL would ask at the terminal for that of an encrypted key.
        context.load_cert_chain(certificate, certificate.with_name("tls.key"), password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "unreadable"
        raise TlsFailed(origin, f"its client certificate cannot be used: {why}") from None
