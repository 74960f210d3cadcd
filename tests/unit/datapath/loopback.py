"""The real data path between a raw client and a scripted server, all on loopback sockets."""

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.unit.datapath.hands import Turned, turn, turn_until
from toolpolicy_api import snapshot
from toolpolicy_api.channel import OverrideAction, Transition
from toolpolicy_sidecar.clock import Clock, SystemClock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.reverse import ReverseListener
from toolpolicy_sidecar.override import Override
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest
from toolpolicy_sidecar.upstream.pool import Pool

Pairs = list[tuple[str, str]]
HANG_S = 20.0
"""No test waits longer for anything: generous, since the machine may be busy."""


class Recorded:
    """A recorder that keeps everything."""

    def __init__(self) -> None:
        self.calls: list[CallRecord] = []
        self.refusals: list[RefusedRequest] = []
        self.passed: list[EgressRecord] = []
        self.messages: list[RedactedMessage] = []
        self.transitions: list[Transition] = []

    def call(self, record: CallRecord) -> None:
        self.calls.append(record)

    def refused(self, record: RefusedRequest) -> None:
        self.refusals.append(record)

    def redacted(self, record: RedactedMessage) -> None:
        self.messages.append(record)

    def egress(self, record: EgressRecord) -> None:
        self.passed.append(record)

    def transition(self, transition: Transition) -> None:
        self.transitions.append(transition)


class Message:
    """What requests and answers have in common."""

    headers: Pairs
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Seen(Message):
    """A request as the tool's server read it."""

    method: str
    target: str
    headers: Pairs
    body: bytes = b""


class Exchange:
    """One request at the scripted server, and the way to answer it, byte by byte if need be."""

    def __init__(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen, self._reader, self._writer = seen, reader, writer

    async def raw(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(data)
        await self._writer.drain()

    async def answer(
        self, status: int, body: bytes, content_type: str = "application/json", **more: str
    ) -> None:
        head = f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\n"
        if content_type:
            head += f"Content-Type: {content_type}\r\n"
        for name, value in more.items():
            head += f"{name.replace('_', '-')}: {value}\r\n"
        await self.raw(head.encode() + b"\r\n" + body)

    async def result(self, text: str = "fine", **more: Any) -> None:
        """An MCP result for this call."""
        await self.answer(200, self.message(text, **more))

    def message(self, text: str = "fine", **more: Any) -> bytes:
        result = {"content": [{"type": "text", "text": text}], "resultType": "complete", **more}
        return json.dumps({"jsonrpc": "2.0", "id": self.seen.json["id"], "result": result}).encode()

    async def events(self, *pieces: bytes, **more: str) -> None:
        """The head of an event stream, and these bytes of it; chunked, not ended."""
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{extra}Transfer-Encoding: chunked\r\n\r\n"
        )
        await self.raw(head.encode())
        await self.chunks(*pieces)

    async def chunks(self, *pieces: bytes) -> None:
        for piece in pieces:
            await self.raw(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0)

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def reset(self) -> None:
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Until the sidecar closes this connection."""
        with suppress(ConnectionError):
            while await self._reader.read(65536):
                pass


Script = Callable[[Exchange], Awaitable[None]]


async def fine(exchange: Exchange) -> None:
    if exchange.seen.method == "POST" and b'"tools/call"' in exchange.seen.body:
        await exchange.result()
    else:
        await exchange.answer(200, b'{"ok":true}')


class Tool:
    """A tool server that does what its script says. `seen` is every request, in order."""

    def __init__(self) -> None:
        self.script: Script = fine
        self.seen: list[Seen] = []
        self.port = 0
        self.connections = 0
        self.tls: ssl.SSLContext | None = None
        self.greeting = b""  # sent at once, in the place of any answer
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=2**20, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        try:
            if self.greeting:
                writer.write(self.greeting)
                return
            while not writer.is_closing():
                seen = await read_request(reader)
                self.seen.append(seen)
                await self.script(Exchange(seen, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def read_head(reader: asyncio.StreamReader) -> tuple[str, Pairs]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    return first, [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]


async def read_body(reader: asyncio.StreamReader, headers: Pairs, *, to_end: bool = False) -> bytes:
    fields = {name.lower(): value for name, value in headers}
    if fields.get("transfer-encoding") == "chunked":
        body = b""
        async for piece in chunks(reader):
            body += piece
        return body
    if "content-length" in fields:
        return await reader.readexactly(int(fields["content-length"]))
    return await reader.read() if to_end else b""


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


async def read_request(reader: asyncio.StreamReader) -> Seen:
    first, headers = await read_head(reader)
    method, target, _ = first.split(" ")
    seen = Seen(method, target, headers)
    seen.body = await read_body(reader, headers)
    return seen


@dataclass
class Answer(Message):
    status: int
    headers: Pairs
    body: bytes = b""

    @property
    def text(self) -> str:
        """What the model reads."""
        result = self.json["result"]
        assert result["isError"] is True
        assert result["resultType"] == "complete"
        assert "structuredContent" not in result
        return str(result["content"][0]["text"])

    @property
    def meta(self) -> Any:
        return self.json["result"]["_meta"]


class Agent:
    """A raw HTTP/1.1 client on one kept connection."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.port, self.reader, self.writer = port, reader, writer

    @classmethod
    async def connect(cls, port: int) -> "Agent":
        return cls(port, *await asyncio.open_connection("127.0.0.1", port, limit=2**24))

    async def send(
        self, method: str, target: str, body: bytes | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        names = {name.lower() for name, _ in headers}
        head = f"{method} {target} HTTP/1.1\r\n"
        if "host" not in names:
            head += f"Host: 127.0.0.1:{self.port}\r\n"
        if body is not None and "content-length" not in names and "transfer-encoding" not in names:
            head += f"Content-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers)
        await self.raw(head.encode("latin-1") + b"\r\n" + (body or b""))

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Answer:
        async with asyncio.timeout(HANG_S):
            first, headers = await read_head(self.reader)
        return Answer(int(first.split(" ")[1]), headers)

    async def answer(self, method: str = "GET") -> Answer:
        answer = await self.head()
        if method != "HEAD" and answer.status not in {204, 304}:
            await self.rest(answer)
        return answer

    async def rest(self, head: Answer) -> Answer:
        """With its body."""
        async with asyncio.timeout(HANG_S):
            head.body = await read_body(self.reader, head.headers, to_end=True)
        return head

    async def request(
        self, method: str, target: str, body: bytes | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> Answer:
        await self.send(method, target, body, list(headers))
        return await self.answer(method)

    async def call(
        self, name: str = "search", headers: Iterable[tuple[str, str]] = (), **arguments: Any
    ) -> Answer:
        """An MCP tool call."""
        return await self.request("POST", "/kb", tools_call(name, **arguments), [*MCP_HEADERS, *headers])

    def close(self) -> None:
        self.writer.close()


MCP_HEADERS = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]


def tools_call(name: str = "search", *, identifier: Any = 7, **arguments: Any) -> bytes:
    params = {"name": name, "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": identifier, "method": "tools/call", "params": params}).encode()


def rules(**fields: Any) -> snapshot.Rules:
    """Times are generous unless a test is about them."""
    times = {"total_ms": 10_000, "attempt_ms": 10_000, "connect_ms": 2_000, "idle_ms": None}
    given = {name: fields.pop(name) for name in list(fields) if name in times}
    return snapshot.Rules(timeouts=snapshot.Timeouts(**(times | given)), **fields)


def by_hand(
    reason: str = "",
    for_s: float = 3600.0,
    *,
    by: str = "",
    action: OverrideAction = "Disable",
    clock: Clock | None = None,
) -> Override:
    clock = clock or SystemClock()
    until, until_ms = clock.monotonic() + for_s, clock.unix_ms() + int(for_s * 1000)
    return Override(action=action, until=until, until_ms=until_ms, reason=reason, by=by)


def breaker(failures: int = 2, open_for_ms: int = 60_000, **fields: Any) -> snapshot.Breaker:
    return snapshot.Breaker(
        consecutive_failures=failures, open_for_ms=open_for_ms, half_open_calls=1, **fields
    )


def retry(**fields: Any) -> snapshot.Retry:
    """Short waits, everything is tried again."""
    built_in: dict[str, Any] = {
        "max_attempts": 3,
        "backoff_base_ms": 2,
        "backoff_max_ms": 4,
        "on": ("Connect", "Timeout", "ServerError", "Throttled"),
        "idempotent": True,
    }
    return snapshot.Retry(**(built_in | fields))


def redaction(**fields: Any) -> snapshot.Redaction:
    patterns = (snapshot.Pattern(name="key", regex="sk-[a-z0-9]{8,}", replace="[key]"),)
    return snapshot.Redaction(patterns=patterns, **fields)


@dataclass
class World:
    """`kb` is an MCP server with the tool `search`, `api` an HTTP server with the tool `ticket`."""

    port: int
    current: Current
    listener: ReverseListener
    recorded: Recorded
    pool: Pool
    tool: Tool
    pipeline: Pipeline
    clock: Turned
    agents: list[Agent] = field(default_factory=list)

    async def agent(self) -> Agent:
        agent = await Agent.connect(self.port)
        self.agents.append(agent)
        return agent

    def turn(self, by_s: float) -> None:
        """It is so much later now."""
        turn(self.clock, by_s)

    async def turn_until(self, by_s: float, holds: Callable[[], object]) -> None:
        await turn_until(self.clock, by_s, holds)

    def install(self, **fields: Any) -> None:
        """See `policy`."""
        self.install_policy(self.policy(**fields))

    def install_policy(self, policy: snapshot.Policy) -> None:
        self.current.install(snapshot.encode(snapshot.Snapshot((policy,))), "test")

    def policy(
        self,
        *,
        tool_rules: snapshot.Rules | None = None,
        unlisted: snapshot.Rules | None = None,
        port: int | None = None,
        scheme: str = "http",
        host: str = "127.0.0.1",
        more: tuple[snapshot.Tool, ...] = (),
        server_concurrency: snapshot.Concurrency | None = None,
        upgrade: Literal["Refuse", "Tunnel"] = "Refuse",
        **fields: Any,
    ) -> snapshot.Policy:
        tool_rules, unlisted = tool_rules or rules(), unlisted or rules()
        origin = f"{scheme}://{host}:{port or self.tool.port}"
        servers = (
            snapshot.Server(
                name="kb",
                protocol="MCP",
                url=f"{origin}/mcp",
                unlisted=unlisted,
                concurrency=server_concurrency,
            ),
            snapshot.Server(
                name="api",
                protocol="HTTP",
                url=f"{origin}/base",
                unlisted=unlisted,
                concurrency=server_concurrency,
                upgrade=upgrade,
            ),
        )
        ticket = snapshot.HttpMatch(path="/v1/tickets/{id}", methods=("GET", "POST"))
        tools = (
            snapshot.Tool("search", "kb", snapshot.McpMatch("search*"), tool_rules),
            snapshot.Tool("ticket", "api", ticket, tool_rules),
            *more,
        )
        return snapshot.Policy(
            namespace="support",
            name="agent",
            uid="1",
            generation=1,
            created="2026-01-01T00:00:00Z",
            selector=snapshot.Selector(),
            servers=servers,
            tools=tools,
            **fields,
        )

    async def recorded_call(self, number: int = 1) -> CallRecord:
        """The last record, once there are this many: a record is made after the agent has its answer."""
        await until(lambda: len(self.recorded.calls) >= number)
        assert len(self.recorded.calls) == number
        return self.recorded.calls[-1]


async def until(holds: Callable[[], object]) -> None:
    """Waits for what has no event of its own."""
    async with asyncio.timeout(HANG_S):
        while not holds():  # noqa: ASYNC110 -- see above
            await asyncio.sleep(0.002)


@asynccontextmanager
async def world(limits: Limits | None = None, rng: random.Random | None = None) -> AsyncIterator[World]:
    async with bare(limits, rng) as made:
        made.install()
        yield made


@asynccontextmanager
async def bare(
    limits: Limits | None = None, rng: random.Random | None = None, made_by: type[Pipeline] = Pipeline
) -> AsyncIterator[World]:
    """Without a policy."""
    limits = limits or Limits()
    tool = Tool()
    await tool.start()
    recorded, clock, pool = Recorded(), Turned(), Pool()
    current = Current(recorder=recorded, clock=clock)
    pipeline = made_by(pool, limits, clock, recorded, rng)
    listener = ReverseListener(current, pipeline, limits, clock, recorded)
    port = await listener.start("127.0.0.1", 0)
    made = World(port, current, listener, recorded, pool, tool, pipeline, clock)
    try:
        yield made
    finally:
        for agent in made.agents:
            agent.close()
        await listener.close()
        await pipeline.close()
        await pool.close()
        await tool.stop()
