"""A shim from start to end: the server's process, its policies, both directions, and the exit code."""

import asyncio
import logging
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from toolpolicy_sidecar.child import Child, hold_signals, how_it_ended
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.config import files
from toolpolicy_sidecar.config.compiling import changes
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.log import LogRecorder, configure
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.plan import InvalidSnapshot
from toolpolicy_sidecar.recorders import Recorders
from toolpolicy_sidecar.settings import Address
from toolpolicy_sidecar.stdio.agent_pipes import PIECE_BYTES, Input, Output
from toolpolicy_sidecar.stdio.command import Settings, complain
from toolpolicy_sidecar.stdio.lines import Lines
from toolpolicy_sidecar.stdio.pod_sidecar import AskedSidecar, NoConfiguration
from toolpolicy_sidecar.stdio.server_pipe import ServerPipe
from toolpolicy_sidecar.stdio.shim import Shim
from toolpolicy_sidecar.upstream.origin import over_pipes

log = logging.getLogger("toolpolicy")

LAST_CALLS_S = 1.0
"""When the agent has said all it will say, calls may take this long before the server hears of it: clients of the SDKs
give a server 2 s from then on."""
LAST_ANSWERS_S = 2.0
"""When the server has ended, this long for what is to be said to the agent about its calls."""
LAST_OUTPUT_S = 1.0
"""When its process has ended, this long for what it wrote, which another process may hold open."""
BUFFER_BYTES = 1024 * 1024
"""What the server has not read yet; with more, the agent's input waits."""


async def serve(settings: Settings) -> int:
    """The exit code."""
    hold_signals()
    configure(settings.log_level, sys.stderr)
    try:
        # First of all: while it starts, the policies are read.
        child = Child(settings.command, pipes=True)
    except OSError as error:
        complain(f"{settings.command[0]}: {error.strerror}")
        return 127 if isinstance(error, FileNotFoundError) else 126
    try:
        return await _Session(settings, child).run()
    except files.BadPolicies as bad:
        complain(f"the policies are refused\n{bad}")
        return 2
    except _Unfit as unfit:
        complain(str(unfit))
        return 2
    except NoConfiguration as missing:
        complain(str(missing))
        return 1
    finally:
        child.send(signal.SIGTERM)


class _Unfit(Exception):  # noqa: N818 -- names what is wrong
    """The policies say nothing about this server."""


class _Session:
    def __init__(self, settings: Settings, child: Child) -> None:
        self._settings, self._child = settings, child
        self._clock, recorders = SystemClock(), Recorders()
        recorders.all.append(LogRecorder())
        self._recorders = recorders
        self._limits = Limits(body_bytes=settings.max_body_bytes)
        self._current = Current(recorder=recorders, clock=self._clock)

    async def run(self) -> int:
        """Raises BadPolicies, NoConfiguration, _Unfit."""
        follow = await self._configured()
        loop, child = asyncio.get_running_loop(), self._child
        reader = asyncio.StreamReader(limit=BUFFER_BYTES)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), child.stdout)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, child.stdin)
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        pipe = ServerPipe(over_pipes(self._settings.server).origin, writer)
        pipeline = Pipeline(pipe, self._limits, self._clock, self._recorders, random.SystemRandom())
        output = Output(sys.stdout.fileno())
        shim = Shim(
            self._settings.server,
            to_agent=output,
            to_server=pipe,
            current=self._current,
            pipeline=pipeline,
            recorder=self._recorders,
            limits=self._limits,
            clock=self._clock,
        )
        heard = asyncio.ensure_future(self._from_server(reader, shim))
        said = asyncio.ensure_future(self._from_agent(Input(sys.stdin.fileno()), shim, pipe))
        try:
            both: tuple[asyncio.Future[Any], ...] = (heard, child.ended)
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(both, timeout=LAST_OUTPUT_S)
            ended = child.ended.done()
            pipe.end(how_it_ended(child.ended.result()) if ended else "it closed its output")
            await shim.drained(LAST_ANSWERS_S)
            await shim.close()
            output.close()
            return await asyncio.shield(child.ended)
        finally:
            for task in (heard, said, follow):
                task.cancel()
            await asyncio.gather(heard, said, follow, return_exceptions=True)
            await pipeline.close()

    async def _configured(self) -> asyncio.Future[None]:
        """Policies are in force, and the task that follows their changes."""
        where = self._settings.policies
        if where is not None:
            found = files.content(where)
            self._install(files.compile_files(found), str(where))
            self._refuse_unfit()
            if self._settings.metrics:
                await self._serve_metrics(self._settings.metrics)
            return asyncio.ensure_future(self._follow_files(changes(where, found)))
        sidecar = AskedSidecar(*self._settings.admin)
        self._recorders.all.append(sidecar.records)
        self._install(await sidecar.first(), "sidecar")
        self._refuse_unfit()
        return asyncio.ensure_future(self._follow(sidecar))

    async def _serve_metrics(self, where: Address) -> None:
        """Raises NoConfiguration when the address is taken."""
        # Most agents' shims are not asked for metrics, and are to start soon.
        from toolpolicy_sidecar.health import Health  # noqa: PLC0415 -- see above
        from toolpolicy_sidecar.listeners.pages import Pages  # noqa: PLC0415 -- the same
        from toolpolicy_sidecar.metrics import Metrics  # noqa: PLC0415 -- the same

        metrics = Metrics(self._current)
        self._recorders.all.append(metrics)
        health = Health(metrics)
        health.started = True
        try:
            await Pages(health.page).start(where.host, where.port)
        except OSError as error:
            raise NoConfiguration(f"--metrics: {error.strerror}") from None

    def _install(self, data: bytes, source: str) -> None:
        """Raises BadPolicies."""
        try:
            self._current.install(data, source)
        except InvalidSnapshot as invalid:
            raise files.BadPolicies([f"this release cannot enforce them: {invalid}"]) from None

    def _refuse_unfit(self) -> None:
        runtime, name = self._current.runtime, self._settings.server
        servers = runtime.servers if runtime else {}
        server = servers.get(name)
        if server is None:
            known = ", ".join(sorted(n for n, s in servers.items() if s.place.origin.piped)) or "none"
            raise _Unfit(f"no policy has a server {name!r}; with `stdio: {{}}` there are: {known}")
        if not server.place.origin.piped:
            raise _Unfit(f"server {name!r} has a url in the policies; give it `stdio: {{}}` in its place")

    async def _follow_files(self, changes: AsyncIterator[bytes | files.BadPolicies]) -> None:
        async for change in changes:
            if isinstance(change, bytes):
                self._renew(change)
            else:
                log.error("policies refused, the last good ones stay", extra={"why": change.lines})

    async def _follow(self, sidecar: AskedSidecar) -> None:
        try:
            async for data in sidecar.changes():
                self._renew(data)
        finally:
            await sidecar.close()

    def _renew(self, data: bytes) -> None:
        try:
            self._install(data, "change")
        except files.BadPolicies as bad:
            log.error("policies refused, the last good ones stay", extra={"why": bad.lines})  # noqa: TRY400 -- no bug

    async def _from_server(self, reader: asyncio.StreamReader, shim: Shim) -> None:
        """Until the server has said all it will say."""
        lines = Lines(self._limits.body_bytes)
        with suppress(ConnectionError):  # the agent reads no more: what follows is for nobody
            while piece := await reader.read(PIECE_BYTES):
                for line in lines.feed(piece):
                    await shim.from_server(line)
            for line in lines.rest():
                await shim.from_server(line)

    async def _from_agent(self, source: Input, shim: Shim, pipe: ServerPipe) -> None:
        """Until the agent has said all it will say; then the server hears of it."""
        lines = Lines(self._limits.body_bytes)
        with suppress(ConnectionError):
            while piece := await source.read():
                for line in lines.feed(piece):
                    await shim.from_agent(line)
            for line in lines.rest():
                await shim.from_agent(line)
            await shim.drained(LAST_CALLS_S)
        pipe.close()
