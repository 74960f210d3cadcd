"""The file by which the agent trusts this sidecar's certificates, and everybody whom it would trust without."""

import os
import ssl
import tempfile
from pathlib import Path

ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where the distributions keep the certificates of the authorities they trust."""


def system_roots() -> bytes:
    """PEM, b"" when this system has none."""
    for place in (ssl.get_default_verify_paths().cafile or "", *ROOTS):
        if Path(place).is_file():
            return Path(place).read_bytes()
    return b""


def write(path: Path, authority: bytes, roots: bytes) -> None:
    """For everyone to read, and whole: nobody sees half of it. Raises OSError."""
    handle, half = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(roots.rstrip() + b"\n" + authority if roots else authority)
            os.fchmod(file.fileno(), 0o644)
        Path(half).replace(path)
    except OSError:
        Path(half).unlink(missing_ok=True)
        raise
