"""The sidecar of a shim's pod, by its admin API on loopback: it tells its policies, and is told of the calls."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from itertools import islice

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar import reported
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest
from toolpolicy_sidecar.upstream.exchange import BodyTooLarge, Request, Response
from toolpolicy_sidecar.upstream.failure import UpstreamFailure
from toolpolicy_sidecar.upstream.headers import Header
from toolpolicy_sidecar.upstream.origin import Origin
from toolpolicy_sidecar.upstream.pool import Pool

log = logging.getLogger("toolpolicy")

SNAPSHOT, RECORDS = "/admin/snapshot", "/admin/records"
KEPT_RECORDS = 5000
"""While the sidecar does not answer. The oldest go first."""
LOOK_EVERY_S = 1.0
WITHIN_S = 2.0
AT_START_S = 5.0
"""A sidecar may start beside the agent."""
_LIMIT_BYTES = 64 * 1024 * 1024


class NoConfiguration(Exception):  # noqa: N818 -- names what happened
    """Nobody tells what is to be enforced. The message says what was asked, and what to do."""


class Records:
    """A recorder: what the sidecar is still to be told, the newest of it."""

    def __init__(self) -> None:
        self._kept: deque[CallRecord | RefusedRequest] = deque(maxlen=KEPT_RECORDS)

    def oldest(self) -> list[CallRecord | RefusedRequest]:
        """As many as are told at once."""
        return list(islice(self._kept, reported.RECORDS_AT_ONCE))

    def told(self, records: list[CallRecord | RefusedRequest]) -> None:
        for record in records:
            if self._kept and self._kept[0] is record:  # else newer ones have pushed it out meanwhile
                self._kept.popleft()

    def call(self, record: CallRecord) -> None:
        self._kept.append(record)

    def refused(self, record: RefusedRequest) -> None:
        self._kept.append(record)

    def redacted(self, record: RedactedMessage) -> None:
        """Counted with calls only."""

    def egress(self, record: EgressRecord) -> None:
        """There is none over pipes."""

    def transition(self, transition: Transition) -> None:
        """The sidecar's own circuits are others."""


class AskedSidecar:
    def __init__(self, host: str, port: int) -> None:
        self._origin = Origin("http", host, port)
        self._pool = Pool()
        self._tag = b""
        self.records = Records()

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
            await self.report()
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

    async def report(self) -> None:
        """All that is to be told; what cannot be told now is kept for the next time."""
        try:
            while records := self.records.oldest():
                response, _ = await self._exchange("POST", RECORDS, (), reported.encode(records))
                if response.status >= 500:
                    return
                self.records.told(records)
        except (UpstreamFailure, BodyTooLarge, TimeoutError):
            return

    async def close(self) -> None:
        await self.report()
        await self._pool.close()

    async def _ask(self) -> bytes | None:
        """None: as before. Raises UpstreamFailure, BodyTooLarge, TimeoutError."""
        headers = ((b"If-None-Match", self._tag),) if self._tag else ()
        response, body = await self._exchange("GET", SNAPSHOT, headers, None)
        if response.status != 200:
            return None
        self._tag = response.header(b"etag") or b""
        return body

    async def _exchange(
        self, method: str, target: str, headers: tuple[Header, ...], body: bytes | None
    ) -> tuple[Response, bytes]:
        """Raises UpstreamFailure, BodyTooLarge, TimeoutError."""
        async with asyncio.timeout(WITHIN_S):
            request = Request(self._origin, method, target, headers, body)
            response = await self._pool.exchange(request, connect_timeout_s=WITHIN_S)
            answer = await response.body(_LIMIT_BYTES)
            response.release()
        return response, answer
