"""A whole sidecar in the test's own loop, over real sockets: real listener, real pool, scripted tool servers."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.unit.datapath.hands import Loop
from tests.unit.datapath.loopback import World, bare
from toolpolicy_api import snapshot
from toolpolicy_api.check import parse
from toolpolicy_api.compile import compile_policy
from toolpolicy_sidecar.limits import Limits


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of a real sidecar."""
    return {"uvloop": Loop}


class Sent(NamedTuple):
    """A request as a tool server received it."""

    line: str
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Sent:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in rest)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Sent(line, headers, body)


def answer(body: bytes, kind: str = "application/json", status: str = "200 OK", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


class Tools:
    """A tool server that plays one script for every request, and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[Sent] = []
        self.closed = asyncio.Event()
        self.script: Callable[[Sent, asyncio.StreamWriter], Awaitable[None]] = self._ok
        self.port = 0

    async def _ok(self, sent: Sent, writer: asyncio.StreamWriter) -> None:
        body = {"jsonrpc": "2.0", "id": json.loads(sent.body or b"{}").get("id"), "result": {"content": []}}
        writer.write(answer(json.dumps(body).encode()))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                sent = await read_request(reader)
                self.got.append(sent)
                playing = asyncio.ensure_future(self.script(sent, writer))
                gone = asyncio.ensure_future(_until_eof(reader))
                await asyncio.wait({playing, gone}, return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                if not playing.done():
                    playing.cancel()
                    return
                playing.result()
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.closed.set()
            writer.close()


async def _until_eof(reader: asyncio.StreamReader) -> None:
    """Watches for the client's end without taking bytes of the next request."""
    while not reader.at_eof():  # noqa: ASYNC110 -- the stream has no event for its end
        await asyncio.sleep(0.005)


class Sidecar:
    """A world whose policies are written as in a file, behind a client that knows HTTP."""

    def __init__(self, world: World, http: aiohttp.ClientSession) -> None:
        self.http, self.url = http, f"http://127.0.0.1:{world.port}"
        self.current, self.pool, self.listener = world.current, world.pool, world.listener
        self.kept, self.turn, self.turn_until = world.recorded, world.turn, world.turn_until

    def install(self, **spec: Any) -> None:
        self.current.install(snapshot.encode(snapshot.Snapshot(policies=(policy(**spec),))), "test")


def policy(name: str = "p", **spec: Any) -> snapshot.Policy:
    document = {
        "apiVersion": "toolpolicy.dev/v1alpha1",
        "kind": "ToolPolicy",
        "metadata": {"name": name, "namespace": "ns", "uid": name, "generation": 1},
        "spec": {"selector": {}, **spec},
    }
    return compile_policy(parse(document))


@asynccontextmanager
async def running(limits: Limits | None = None) -> AsyncIterator[Sidecar]:
    """Without a policy."""
    async with bare(limits) as world, aiohttp.ClientSession() as http:
        yield Sidecar(world, http)


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    made = Tools()
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        stack.callback(server.close)
        made.port = server.sockets[0].getsockname()[1]
        yield made


@pytest.fixture
async def sidecar() -> AsyncIterator[Sidecar]:
    async with running() as started:
        yield started


def servers(port: int) -> list[dict[str, str]]:
    return [
        {"name": "kb", "protocol": "MCP", "url": f"http://127.0.0.1:{port}/mcp"},
        {"name": "api", "protocol": "HTTP", "url": f"http://127.0.0.1:{port}/base"},
    ]


def tool_call(name: str = "search", identifier: object = 1, **arguments: object) -> dict[str, object]:
    return {
        "jsonrpc": "2.0",
        "id": identifier,
        "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }
