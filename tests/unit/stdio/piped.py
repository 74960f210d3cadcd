"""A shim in the test's own loop: the test is the agent and the server, at both ends of real pipes."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.unit.datapath.loopback import HANG_S, Recorded
from toolpolicy_api import snapshot
from toolpolicy_api.check import parse
from toolpolicy_api.compile import compile_policy
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.stdio.agent_pipes import Output
from toolpolicy_sidecar.stdio.server_pipe import ServerPipe
from toolpolicy_sidecar.stdio.shim import Shim
from toolpolicy_sidecar.upstream.origin import over_pipes

NAME = "notes"


def compiled(**spec: Any) -> bytes:
    document = {
        "apiVersion": "toolpolicy.dev/v1alpha1",
        "kind": "ToolPolicy",
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {
            "selector": {},
            "servers": [{"name": NAME, "protocol": "MCP", "stdio": {}}],
            "tools": [{"name": "search", "server": NAME}],
            **spec,
        },
    }
    return snapshot.encode(snapshot.Snapshot((compile_policy(parse(document)),)))


def call(identifier: object = 1, tool: str = "search", **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identifier, "method": "tools/call", "params": {"name": tool, **params}}


class Piped:
    def __init__(self, limits: Limits) -> None:
        self.recorded, self.clock, self.limits = Recorded(), SystemClock(), limits
        self.current = Current(recorder=self.recorded, clock=self.clock)

    def install(self, **spec: Any) -> None:
        self.current.install(compiled(**spec), "test")

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        agent_reads, shim_writes = os.pipe()
        self.server_reads, shim_sends = os.pipe()
        self._ends: list[asyncio.ReadTransport] = []
        self._from_shim = await self._reader(agent_reads)
        self._at_server: asyncio.StreamReader | None = None
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(shim_sends, "wb", 0)
        )
        self._output = Output(shim_writes)
        self.pipe = ServerPipe(over_pipes(NAME).origin, asyncio.StreamWriter(transport, protocol, None, loop))
        self._pipeline = Pipeline(self.pipe, self.limits, self.clock, self.recorded)
        self.shim = Shim(
            NAME,
            to_agent=self._output,
            to_server=self.pipe,
            current=self.current,
            pipeline=self._pipeline,
            recorder=self.recorded,
            limits=self.limits,
            clock=self.clock,
        )

    async def say(self, message: dict[str, Any] | bytes) -> None:
        """The agent."""
        await self.shim.from_agent(message if isinstance(message, bytes) else json.dumps(message).encode())

    async def answer(self, message: dict[str, Any] | bytes) -> None:
        """The server."""
        await self.shim.from_server(message if isinstance(message, bytes) else json.dumps(message).encode())

    async def result(self, asked: dict[str, Any], text: str = "fine") -> None:
        content = {"content": [{"type": "text", "text": text}]}
        await self.answer({"jsonrpc": "2.0", "id": asked["id"], "result": content})

    async def heard_raw(self) -> bytes:
        """By the agent."""
        async with asyncio.timeout(HANG_S):
            return await self._from_shim.readline()

    async def heard(self) -> Any:
        return json.loads(await self.heard_raw())

    async def got_raw(self) -> bytes:
        """By the server."""
        if self._at_server is None:
            self._at_server = await self._reader(self.server_reads)
        async with asyncio.timeout(HANG_S):
            return await self._at_server.readline()

    async def got(self) -> Any:
        return json.loads(await self.got_raw())

    async def stop(self) -> None:
        await self.shim.close()
        await self._pipeline.close()
        if self._at_server is None:
            await self._reader(self.server_reads)
        for end in self._ends:
            end.close()
        self.pipe.close()
        self._output.close()
        await asyncio.sleep(0)

    async def _reader(self, descriptor: int) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
        )
        self._ends.append(transport)
        return reader


@asynccontextmanager
async def piped(limits: Limits | None = None, **spec: Any) -> AsyncIterator[Piped]:
    made = Piped(limits or Limits())
    made.install(**spec)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
