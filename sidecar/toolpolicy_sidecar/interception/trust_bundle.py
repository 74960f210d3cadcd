"""The file by which the agent trusts this sidecar's certificates, and everybody whom it would trust without."""

import logging
import os
import ssl
import tempfile
from pathlib import Path

log = logging.getLogger("toolpolicy")

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


def extra_roots(where: Path) -> bytes:
    """PEM: a file, or all in a folder, such as a mounted ConfigMap. One bad file would spoil a whole bundle: it is left
    out, with a warning."""
    files = [where] if where.is_file() else sorted(where.glob("*"))
    found = []
    for file in files:
        if file.name.startswith(".") or not file.is_file():
            continue
        try:
            text = file.read_text(encoding="ascii")
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        except (OSError, ValueError) as error:
            log.warning("extra roots left out", extra={"file": str(file), "why": str(error)})
        else:
            found.append(text.strip().encode() + b"\n")
    if not found:
        log.warning("no extra roots found", extra={"where": str(where)})
    return b"".join(found)


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
