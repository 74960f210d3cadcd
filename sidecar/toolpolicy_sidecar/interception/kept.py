"""The authority outlives a restart of the sidecar's container: else its agent, which has read the bundle, would trust
nobody. It is kept in memory, by a volume that is no disk, and only where that is so."""

import os
import tempfile
from pathlib import Path

_FILE = "authority.pem"
_MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = {"tmpfs", "ramfs"}


def load(folder: Path) -> bytes | None:
    """What `save` has left there."""
    try:
        return (folder / _FILE).read_bytes()
    except FileNotFoundError:
        return None


def save(folder: Path, born: bytes) -> None:
    """For this user alone, and whole. Raises OSError; also where it would end up on a disk."""
    if not in_memory(folder, _MOUNTS.read_text(encoding="utf-8")):
        raise OSError(f"{folder} is no file system in memory, and the authority's key must be on no disk")
    handle, half = tempfile.mkstemp(dir=folder)  # mode 0600
    with os.fdopen(handle, "wb") as file:
        file.write(born)
    Path(half).replace(folder / _FILE)


def in_memory(folder: Path, mounts: str) -> bool:
    """`mounts`: as /proc/self/mountinfo has them (proc(5)); of several at one place, the last is on top."""
    kind, depth = "", -1
    path = folder.resolve()
    for line in mounts.splitlines():
        of_mount, _, of_system = line.partition(" - ")
        place = Path(of_mount.split(" ")[4])
        if path.is_relative_to(place) and len(place.parts) >= depth:
            kind, depth = of_system.split(" ")[0], len(place.parts)
    return kind in _IN_MEMORY
