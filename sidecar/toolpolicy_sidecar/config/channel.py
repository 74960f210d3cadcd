"""The control channel's end in the sidecar: dials the operator, takes snapshots, reports what happens."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import aiohttp

from toolpolicy_api import channel, snapshot, trust
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.findings import Told
from toolpolicy_sidecar.plan import InvalidSnapshot

log = logging.getLogger(__name__)

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.2, 2.0
STABLE_S = 10.0
"""A connection that has held this long was a good one: the next back-off starts from the beginning."""
CONNECT_WITHIN_S = 2.0
"""TCP: an address that leads to a pod that is gone answers nothing, and another one is there in a moment."""
UPGRADE_WITHIN_S = 10.0
"""All of it: the operator asks the API server who we are."""
PING_S = 5.0
PENDING_TRANSITIONS = 1000


class Where(NamedTuple):
    """`address` is `wss://host:port`. Token and CA are read anew for each connection."""

    address: str
    token_file: Path
    ca_file: Path


class ControlChannel:
    """`on_installed` is told each snapshot that is in force; it may persist it. `findings`: what heartbeats say of
    redaction."""

    def __init__(
        self,
        where: Where,
        current: Current,
        on_installed: Callable[[bytes], None],
        findings: Callable[[], Told] = Told,
    ) -> None:
        self._where, self._current, self._on_installed = where, current, on_installed
        self._findings = findings
        self._pending: list[channel.Transition] = []
        self._report_due = asyncio.Event()
        self.connected = False
        self.configured = asyncio.Event()
        self.nacks = 0

    def transition(self, transition: channel.Transition) -> None:
        """Sent at once. While there is no connection the state itself is kept: a heartbeat says all of it."""
        if self.connected and len(self._pending) < PENDING_TRANSITIONS:
            self._pending.append(transition)
            self._report_due.set()

    async def run(self) -> None:
        """For ever."""
        backoff_s = FIRST_BACKOFF_S
        while True:
            began = time.monotonic()
            try:
                await self._connection()
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                log.warning(
                    "operator not connected", extra={"operator": self._where.address, "why": _plain(error)}
                )
            finally:
                self.connected = False
                self._pending.clear()
            if time.monotonic() - began > STABLE_S:
                backoff_s = FIRST_BACKOFF_S
            await asyncio.sleep(random.uniform(0, backoff_s))  # noqa: S311 -- full jitter, no secret
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)

    async def _connection(self) -> None:
        token = self._where.token_file.read_text(encoding="ascii").strip()
        tls = trust.servers(cafile=self._where.ca_file)
        url = self._where.address.rstrip("/") + channel.PATH
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN_S)
        # A connector of its own each time: the Service's address may lead to another pod now.
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            async with asyncio.timeout(UPGRADE_WITHIN_S):
                socket = await session.ws_connect(
                    url,
                    ssl=tls,
                    heartbeat=PING_S,
                    max_msg_size=channel.MAX_FRAME_BYTES,
                    headers={"Authorization": f"Bearer {token}"},
                )
            log.info("operator connected", extra={"operator": self._where.address})
            await self._converse(socket)

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        runtime = self._current.runtime
        await self._send(
            socket, channel.Hello(version=version("toolpolicy"), hash=runtime.hash if runtime else None)
        )
        self.connected = True
        await self._beat(socket)
        speaking = [
            asyncio.ensure_future(self._heartbeats(socket)),
            asyncio.ensure_future(self._reports(socket)),
        ]
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._heard(socket, message.data)
                else:
                    break
        finally:
            for task in speaking:
                task.cancel()
            await socket.close()
        why = socket.close_code or "no reason"
        log.info("operator gone", extra={"why": str(why)})

    async def _heard(self, socket: aiohttp.ClientWebSocketResponse, frame: str) -> None:
        """Raises ValueError (msgspec's) for what is no message: the connection is closed then."""
        message = channel.decode_from_operator(frame)
        data = bytes(message.snapshot)
        runtime = self._current.runtime
        if runtime is None or runtime.hash != message.hash:
            try:
                self._install(data, message.hash)
            except InvalidSnapshot as invalid:
                self.nacks += 1
                log.error("config refused", extra={"hash": message.hash, "why": str(invalid)})  # noqa: TRY400 -- no bug
                nack = channel.Nack(version=message.version, hash=message.hash, error=str(invalid)[:2000])
                await self._send(socket, nack)
                return
            self._on_installed(data)
        self.configured.set()
        await self._send(socket, channel.Ack(version=message.version, hash=message.hash))
        await self._beat(socket)

    def _install(self, data: bytes, digest: str) -> None:
        if snapshot.sha256(data) != digest:
            raise InvalidSnapshot("the snapshot's bytes do not have the hash that came with them")
        self._current.install(data, "operator")

    async def _heartbeats(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await asyncio.sleep(channel.HEARTBEAT_S * random.uniform(0.8, 1.2))  # noqa: S311 -- no secret
            await self._beat(socket)

    async def _beat(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        runtime, findings = self._current.runtime, self._findings()
        beat = channel.Heartbeat(
            hash=runtime.hash if runtime else None,
            tools=runtime.reports() if runtime else (),
            redacted=findings.redacted,
            would_find=findings.would_find,
        )
        await self._send(socket, beat)

    async def _reports(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await self._report_due.wait()
            self._report_due.clear()
            transitions, self._pending = tuple(self._pending), []
            runtime = self._current.runtime
            if transitions and runtime:
                keys = {transition.key for transition in transitions}
                tools = tuple(c.report() for key, c in runtime.circuits.items() if key in keys)
                await self._send(socket, channel.Report(transitions=transitions, tools=tools))

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, message: channel.FromSidecar) -> None:
        await socket.send_str(channel.encode(message).decode())


def _plain(error: BaseException) -> str:
    """One line. The token stands in no message of aiohttp's, but a status does."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"HTTP {error.status}: the operator refused the connection"
    return str(error)[:300] or type(error).__name__
