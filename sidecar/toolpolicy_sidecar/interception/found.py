"""At start: an authority for the agent to trust, before it is known whether any policy will need it."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from toolpolicy_sidecar.interception import kept

log = logging.getLogger("toolpolicy")

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


async def find(folder: Path | None, domains: Sequence[str]) -> bytes:
    """PEM of key and certificate: those that an earlier process of this pod has left in `folder`, or new ones.
    Raises OSError."""
    known = kept.load(folder) if folder else None
    if known is not None:
        return known
    born = await _born(domains)
    if folder:
        try:
            kept.save(folder, born)
        except OSError as error:
            log.warning("the authority is lost with this process", extra={"why": str(error)})
    return born


def certificate(born: bytes) -> bytes:
    """Without the key."""
    return born[born.index(_CERTIFICATE) :]


async def _born(domains: Sequence[str]) -> bytes:
    """In a process of its own (see there). Raises OSError."""
    command = [sys.executable, "-I", "-m", "toolpolicy_sidecar.interception.birth", *domains]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    born, _ = await process.communicate()
    if process.returncode or _CERTIFICATE not in born:
        raise OSError(f"no authority could be made: exit {process.returncode}, see the lines above")
    return born
