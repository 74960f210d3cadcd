"""A server that knows no HTTP: it keeps the bytes that came and sends those of its script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from toolpolicy_sidecar.upstream.exchange import Request
from toolpolicy_sidecar.upstream.headers import Header
from toolpolicy_sidecar.upstream.origin import Origin

HANG_S = 20.0
"""No test waits longer for anything: generous, since the machine may be busy."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Line], Awaitable[None]]


async def always_ok(line: Line) -> None:
    while True:
        await line.head()
        await line.say(OK)


def says(data: bytes) -> Script:
    """The same answer to whatever comes first, and then nothing more."""

    async def script(line: Line) -> None:
        await line.head()
        await line.say(data)
        await line.reader.read()

    return script


class RawServer:
    def __init__(self) -> None:
        self.script: Script = always_ok
        self.lines: list[Line] = []
        self.open = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def origin(self) -> Origin:
        return Origin("http", "127.0.0.1", self.port)

    def request(
        self,
        method: str = "GET",
        target: str = "/",
        headers: tuple[Header, ...] = (),
        body: bytes | AsyncIterator[bytes] | None = None,
        length: int | None = None,
    ) -> Request:
        return Request(self.origin, method, target, headers, body, length=length)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        line = Line(reader, writer)
        self.lines.append(line)
        self.open += 1
        try:
            await self.script(line)
        except (
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ConnectionError,
            asyncio.CancelledError,
        ):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def raw_server(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[RawServer]:
    made = RawServer()
    listening = await asyncio.start_server(made.serve, host, port)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        await made.stop()


async def until(holds: Callable[[], object]) -> None:
    """Waits for what has no event of its own."""
    async with asyncio.timeout(HANG_S):
        while not holds():  # noqa: ASYNC110 -- see above
            await asyncio.sleep(0.002)
