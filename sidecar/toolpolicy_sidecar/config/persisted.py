"""The last good snapshot, on the pod's emptyDir: a restarted sidecar enforces it before it has reached anyone."""

import os
import tempfile
from pathlib import Path

import msgspec

from toolpolicy_api import snapshot

NAME = "snapshot.json"


def save(folder: Path, data: bytes) -> None:
    """Atomically: a crash leaves the old one or the new one. First line the hash, then the snapshot. Raises OSError."""
    handle, half = tempfile.mkstemp(dir=folder, prefix=".snapshot-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(snapshot.sha256(data).encode() + b"\n" + data)
            file.flush()
            os.fsync(file.fileno())
        Path(half).replace(folder / NAME)
    except OSError:
        Path(half).unlink(missing_ok=True)
        raise


def load(folder: Path) -> bytes | None:
    """None when there is none, or when it is not what was saved."""
    try:
        digest, _, data = (folder / NAME).read_bytes().partition(b"\n")
    except OSError:
        return None
    if digest.decode("ascii", errors="replace") != snapshot.sha256(data):
        return None
    try:
        snapshot.decode_snapshot(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return data
