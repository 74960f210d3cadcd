"""Where a shim's policies come from: files, or the sidecar of its pod, whose admin API is on loopback."""

import asyncio
import logging
from collections.abc import AsyncIterator

from toolpolicy_sidecar.upstream.exchange import BodyTooLarge, Request
from toolpolicy_sidecar.upstream.failure import UpstreamFailure
from toolpolicy_sidecar.upstream.origin import Origin
from toolpolicy_sidecar.upstream.pool import Pool

log = logging.getLogger("toolpolicy")

SNAPSHOT = "/admin/snapshot"
LOOK_EVERY_S = 1.0
WITHIN_S = 2.0
AT_START_S = 5.0
"""A sidecar may start beside the agent."""
_LIMIT_BYTES = 64 * 1024 * 1024


class NoConfiguration(Exception):  # noqa: N818 -- names what happened
    """Nobody tells what is to be enforced. The message says what was asked, and what to do."""


class AskedSidecar:
    """The snapshot that a sidecar has in force, by its admin API."""

    def __init__(self, host: str, port: int) -> None:
        self._origin = Origin("http", host, port)
        self._pool = Pool()
        self._tag = b""

    async def first(self) -> bytes:
        """Raises NoConfiguration."""
        ends = asyncio.get_running_loop().time() + AT_START_S
        while True:
            try:
                found = await self._ask()
            except (UpstreamFailure, BodyTooLarge, TimeoutError) as error:
                found, why = None, str(error) or "no answer in time"
            else:
                why = f"{self._origin} has no policies yet"
            if found is not None:
                return found
            if asyncio.get_running_loop().time() > ends:
                raise NoConfiguration(
                    f"no sidecar tells its policies: {why}; give --policies FILE, or --admin HOST:PORT of a sidecar"
                )
            await asyncio.sleep(0.1)

    async def changes(self) -> AsyncIterator[bytes]:
        """For ever. While there is no answer, what was last said stays in force."""
        silent = False
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                found = await self._ask()
            except (UpstreamFailure, BodyTooLarge, TimeoutError) as error:
                if not silent:
                    log.warning(
                        "the sidecar does not answer; its last policies stay", extra={"why": str(error)}
                    )
                silent = True
                continue
            silent = False
            if found is not None:
                yield found

    async def close(self) -> None:
        await self._pool.close()

    async def _ask(self) -> bytes | None:
        """None: as before. Raises UpstreamFailure, BodyTooLarge, TimeoutError."""
        headers = ((b"If-None-Match", self._tag),) if self._tag else ()
        async with asyncio.timeout(WITHIN_S):
            request = Request(self._origin, "GET", SNAPSHOT, headers)
            response = await self._pool.exchange(request, connect_timeout_s=WITHIN_S)
            body = await response.body(_LIMIT_BYTES)
            response.release()
        if response.status != 200:
            return None
        self._tag = response.header(b"etag") or b""
        return body
