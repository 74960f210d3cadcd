"""No value that passes through a sidecar comes out in what it says of itself: a canary is planted at every place
where a request or an answer can carry one, and everything that the process emits is searched for it.

The policies redact nothing here: telemetry is clean for what it is made of, not because somebody configured it so.
What people say themselves (who threw a switch, and why) goes through `clean`. The operator has a test of its own.
"""

# ruff: noqa: E501 -- one message a line reads best

import asyncio
import json
import re
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from urllib.parse import urlencode

import pytest

from localcluster.ports import free_port
from tests.unit.datapath.loopback import Exchange, Tool

CANARY = "sk-canaryQ7W2e9RtY4uZ3pLk8vB1"
SEARCHED = re.compile(rb"(?i)canary|q7w2e9|c2stY2FuYXJ5|736b2d63616e")
"""Also in lower case, in base64 and in hexadecimal."""

POLICY = """
apiVersion: toolpolicy.dev/v1alpha1
kind: ToolPolicy
metadata: {{name: p, namespace: a}}
spec:
  selector: {{}}
  servers:
  - {{name: kb, protocol: MCP, url: "http://127.0.0.1:{port}/mcp"}}
  - {{name: api, protocol: HTTP, url: "http://127.0.0.1:{port}/v1"}}
  defaults: {{timeout: {{total: 2s}}, circuitBreaker: {{consecutiveFailures: 40, openFor: 50ms}}}}
  tools:
  - {{name: search, server: kb}}
  - {{name: item, server: api, match: {{path: "/items/{{id}}"}}, circuitBreaker: {{consecutiveFailures: 1, openFor: 20ms}}}}
"""


def post(target: str, body: bytes, *headers: str, method: str = "POST", host: str = "localhost") -> bytes:
    head = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def mcp(*headers: str, **message: object) -> bytes:
    whole = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"} | message
    kinds = ("Content-Type: application/json", "Accept: application/json, text/event-stream")
    return post("/kb", json.dumps(whole).encode(), *kinds, *headers)


REQUESTS = (
    mcp(params={"name": "search", "arguments": {"q": CANARY}}),
    mcp(params={"name": "search", "arguments": {CANARY: 1, f"{CANARY}@example.com": 2}}),
    mcp(params={"name": "search", "arguments": {"q": {CANARY: [CANARY]}}, "_meta": {CANARY: CANARY, "progressToken": CANARY}}),
    mcp(params={"name": CANARY, "arguments": {}}),
    mcp(params={"name": "search", "arguments": CANARY}),
    mcp(params=CANARY),
    mcp(id=CANARY, params={"name": "search", "arguments": {}}),
    mcp(method=CANARY, params={CANARY: CANARY}),
    mcp(method="tools/list", params={"cursor": CANARY}),
    mcp(method="resources/read", params={"uri": f"file:///{CANARY}"}),
    mcp(f"Mcp-Session-Id: {CANARY}", f"MCP-Protocol-Version: {CANARY}", params={"name": "search", "arguments": {}}),
    mcp(f"Mcp-Param-Q: {CANARY}", f"Mcp-Name: {CANARY}", params={"name": "search", "arguments": {}}),
    mcp(f"traceparent: 00-{CANARY}-{CANARY}-01", f"tracestate: a={CANARY}", params={"name": "search", "arguments": {}}),
    mcp(f"baggage: user.id={CANARY},gen_ai.agent.name={CANARY},session.id={CANARY}", params={"name": "search", "arguments": {}}),
    mcp(f"Last-Event-ID: {CANARY}", f"Origin: http://{CANARY}", params={"name": "search", "arguments": {}}),
    post("/kb", f'{{"jsonrpc": "{CANARY}'.encode(), "Content-Type: application/json"),
    post("/kb", CANARY.encode(), f"Content-Type: {CANARY}"),
    post(f"/api/items/{CANARY}", b""),
    post(f"/api/items/1?{CANARY}={CANARY}&q={CANARY}", b""),
    post(f"/api/{CANARY}", b"", method="GET"),
    post(f"/{CANARY}/items/1", b""),
    post(f"/api/items/%zz{CANARY}", b""),
    post(f"/api/items/..%2f{CANARY}", b""),
    post(f"http://{CANARY}.example/items/1", b""),
    post("/api/items/1", CANARY.encode(), f"Authorization: Bearer {CANARY}", f"Cookie: s={CANARY}", f"User-Agent: {CANARY}"),
    post("/api/items/1", CANARY.encode(), f"X-{CANARY}: {CANARY}", f"Referer: http://a/{CANARY}", f"Content-Encoding: {CANARY}"),
    post("/api/items/1", b"", f"Expect: {CANARY}", f"Connection: {CANARY}"),
    post("/api/items/1", b"", f"Transfer-Encoding: {CANARY}"),
    post("/api/items/1", b"", method=CANARY.upper()),
    post("/api/items/1", b"", host=f"{CANARY}@{CANARY}"),
    post("/api/items/1", b"", host=f"{CANARY} x"),
    f"{CANARY}\r\n\r\n".encode(),
    f"GET /api/items/1 HTTP/1.1\r\nHost: a\r\n{CANARY}\r\n\r\n".encode(),
    b"POST /api/items/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{CANARY}\r\nx\r\n".encode(),
    b"POST /api/items/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    + f"X-T: {CANARY}\r\n{CANARY}: 1\r\n\r\n".encode(),
)  # fmt: skip

_OK = "HTTP/1.1 200 OK\r\n"
_JSON = f"{_OK}Content-Type: application/json\r\n"
ANSWERS = tuple(
    answer.encode()
    for answer in (
        f"HTTP/1.1 500 {CANARY}\r\nX-A: {CANARY}\r\nContent-Length: {len(CANARY)}\r\n\r\n{CANARY}",
        f'{_JSON}Connection: close\r\n\r\n{{"jsonrpc":"2.0","id":1,"error":{{"code":-32000,"message":"{CANARY}","data":"{CANARY}"}}}}',
        f'{_JSON}Connection: close\r\n\r\n{{"jsonrpc":"2.0","id":1,"result":{{"isError":true,"content":[{{"type":"text","text":"{CANARY}"}}]}}}}',
        f'{_JSON}Connection: close\r\n\r\n{{"{CANARY}',
        f"{CANARY} 200 OK\r\n\r\n",
        f"HTTP/1.1 {CANARY}\r\n\r\n",
        f"{_OK}{CANARY}\r\n\r\n",
        f"{_OK}Content-Length: {CANARY}\r\n\r\n",
        f"{_OK}Content-Encoding: {CANARY}\r\nContent-Length: 2\r\n\r\nok",
        f"{_OK}Content-Type: {CANARY}\r\nContent-Length: 2\r\n\r\nok",
        f"HTTP/1.1 307 {CANARY}\r\nLocation: http://{CANARY}/\r\nContent-Length: 0\r\n\r\n",
        f"HTTP/1.1 429 {CANARY}\r\nRetry-After: {CANARY}\r\nWWW-Authenticate: {CANARY}\r\nContent-Length: 0\r\n\r\n",
        f"HTTP/1.1 101 {CANARY}\r\nUpgrade: {CANARY}\r\nConnection: upgrade\r\n\r\n{CANARY}",
        f"{_OK}Transfer-Encoding: chunked\r\n\r\n{CANARY}\r\nx\r\n",
        f"{_OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: {CANARY}\r\n{CANARY}: 1\r\n\r\n",
        f"{_OK}Content-Type: text/event-stream\r\nConnection: close\r\n\r\nid: {CANARY}\nevent: {CANARY}\ndata: {{{CANARY}\n\n",
        f"{_OK}Content-Length: 99\r\n\r\n{CANARY}",
        f"{_OK}Set-Cookie: a={CANARY}\r\nMcp-Session-Id: {CANARY}\r\nContent-Length: 0\r\n\r\n",
    )
)  # fmt: skip


@pytest.fixture
async def tool() -> AsyncIterator[Tool]:
    answers = cycle(ANSWERS)
    made = Tool()

    async def says(exchange: Exchange) -> None:
        await exchange.raw(next(answers))
        raise ConnectionResetError  # which closes the connection

    made.script = says
    await made.start()
    yield made
    await made.stop()


LONGEST_S = 5.0
SOON_S = 0.5


async def say_all(port: int, requests: Iterable[bytes]) -> None:
    """One after the other, but none waits for one that is not answered soon."""
    async with asyncio.TaskGroup() as group:
        for request in requests:
            await asyncio.wait({group.create_task(say(port, request))}, timeout=SOON_S)


async def say(port: int, request: bytes) -> None:
    """Whatever is answered; a request that can never be complete is given up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(LONGEST_S):
            while await reader.read(65536):
                pass
    writer.close()


def got(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return bytes(answer.read())


async def test_no_canary_comes_out(tool: Tool, tmp_path: Path) -> None:
    policies, reverse, admin, metrics = tmp_path / "p.yaml", *(free_port() for _ in range(3))
    policies.write_text(POLICY.format(port=tool.port), encoding="utf-8")
    flags = [f"--reverse=127.0.0.1:{reverse}", f"--admin=127.0.0.1:{admin}", f"--metrics=127.0.0.1:{metrics}"]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "toolpolicy_api.command", "sidecar", "--log-level=debug"),
            f"--policies={policies}",
            *flags,
            stdout=out,
            stderr=out,
        )
    try:
        async with asyncio.timeout(30):
            while b'"event":"serving"' not in log.read_bytes():  # noqa: ASYNC110 -- another process writes it
                await asyncio.sleep(0.05)
        await say_all(reverse, REQUESTS * 2)  # answers come in turns: each request meets other ones
        said = urlencode({"reason": f"leaked {CANARY}", "by": CANARY})
        for tool_path in ("item/disable", f"{CANARY}/disable"):
            await say(admin, post(f"/admin/tools/{tool_path}?{said}", b""))
        emitted = {
            path: await asyncio.to_thread(got, metrics, path) for path in ("/metrics", "/readyz", "/healthz")
        }
        emitted |= {
            path: await asyncio.to_thread(got, admin, path)
            for path in ("/admin/circuits", "/admin/config", "/admin/calls", "/admin/snapshot")
        }
    finally:
        process.terminate()
        await process.wait()
    emitted["log"] = log.read_bytes()
    assert len(tool.seen) > len(ANSWERS)  # every answer was given
    assert emitted["log"].count(b'"event":"call"') > len(REQUESTS) / 2
    assert b'"event":"circuit"' in emitted["log"]
    assert b'"user":"[redacted]"' in emitted["log"]
    assert b"leaked [redacted]" in emitted["/admin/circuits"]
    assert b'"calls":[{' in emitted["/admin/calls"]
    assert b"toolpolicy_tool_calls_total{" in emitted["/metrics"]
    for where, text in emitted.items():
        found = SEARCHED.search(text)
        assert not found, (where, text[max(0, found.start() - 300) : found.end() + 100])
