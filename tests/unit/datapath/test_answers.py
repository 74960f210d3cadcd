"""Every reason, end to end over sockets: a clear answer, one record, nothing leaked, the connection still good."""

import asyncio
import json
import socket
import struct

import pytest

from tests.unit.datapath.conftest import Sent, Sidecar, Tools, answer, running, servers, tool_call
from tests.unit.datapath.loopback import HANG_S, until
from toolpolicy_api.compile import TOTAL_MS
from toolpolicy_sidecar.limits import Limits

SECRET = "sk-canary-0123456789"
TOTAL_S = TOTAL_MS / 1000
REDACTION = {"patterns": [{"name": "token", "regex": "sk-[a-z0-9-]{8,}"}]}


def text_of(result: dict[str, object]) -> str:
    assert isinstance(result["result"], dict)
    content = result["result"]["content"]
    assert isinstance(content, list)
    return str(content[0]["text"])


async def mcp(sidecar: Sidecar, message: object, **headers: str) -> tuple[int, dict[str, object]]:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    async with sidecar.http.post(
        f"{sidecar.url}/kb", data=data, headers={"Content-Type": "application/json", **headers}
    ) as response:
        return response.status, json.loads(await response.read())


async def late(sidecar: Sidecar, tools: Tools, message: object, **headers: str) -> dict[str, object]:
    """The answer to a call that has reached a tool which hangs."""
    tools.script, so_far = hang, len(tools.got)
    asking = asyncio.ensure_future(mcp(sidecar, message, **headers))
    await until(lambda: len(tools.got) > so_far)
    sidecar.turn(TOTAL_S)
    _, body = await asking
    return body


async def api(sidecar: Sidecar, method: str, path: str, **more: object) -> tuple[int, dict[str, object]]:
    async with sidecar.http.request(method, f"{sidecar.url}/api{path}", **more) as response:  # type: ignore[arg-type]
        return response.status, json.loads(await response.read())


@pytest.fixture
def ready(sidecar: Sidecar, tools: Tools) -> Sidecar:
    sidecar.install(
        servers=servers(tools.port),
        tools=[
            {"name": "search", "server": "kb"},
            {"name": "off", "server": "kb", "enabled": False},
            {"name": "nice", "server": "kb", "criticality": "Optional"},
            {"name": "get", "server": "api", "match": {"methods": ["GET"], "path": "/v1/things/{id}"}},
        ],
        redaction=REDACTION,
    )
    return sidecar


async def test_without_a_policy_every_call_is_refused(sidecar: Sidecar) -> None:
    status, body = await mcp(sidecar, tool_call())
    assert (status, body["reason"]) == (503, "NoPolicy")


async def test_an_unknown_server_is_named_with_the_known_ones(ready: Sidecar) -> None:
    async with ready.http.get(f"{ready.url}/nowhere/x") as response:
        body = await response.json(content_type="application/problem+json")
    assert (response.status, body["reason"]) == (404, "UnknownServer")
    assert "api, kb" in body["detail"]
    assert ready.kept.refusals[-1].reason == "UnknownServer"


async def test_a_listed_path_with_another_method(ready: Sidecar, tools: Tools) -> None:
    async with ready.http.delete(f"{ready.url}/api/v1/things/7") as response:
        body = await response.json(content_type="application/problem+json")
    assert (response.status, body["reason"], response.headers["Allow"]) == (405, "MethodNotListed", "GET")
    assert tools.got == []


async def test_an_unlisted_path_falls_under_the_defaults(ready: Sidecar, tools: Tools) -> None:
    status, _ = await api(ready, "POST", "/other?a=b")
    assert status == 200
    assert tools.got[0].line == "POST /base/other?a=b HTTP/1.1"
    assert tools.got[0].headers["host"] == f"127.0.0.1:{tools.port}"
    assert ready.kept.calls[-1].tool == "*"


async def test_a_tool_switched_off_by_policy(ready: Sidecar, tools: Tools) -> None:
    status, body = await mcp(ready, tool_call("off"))
    assert status == 200
    assert "disabled" in text_of(body)
    assert tools.got == []
    assert ready.kept.calls[-1].reason == "ToolDisabled"


@pytest.mark.parametrize(
    ("body", "reason", "code"),
    [
        (b"{", "MalformedRequest", -32700),
        (b"\xff\xfe{\x00}\x00", "MalformedRequest", -32700),
        (b'{"a": NaN}', "MalformedRequest", -32700),
        (b'{"id":1,"method":"ping","a\xff":1}', "MalformedRequest", -32700),
        (b'{"id":1,"method":"ping","a":"\xff \\u0065"}', "MalformedRequest", -32700),
        (b"[" * 100_000, "BatchRefused", -32600),
        (b'[{"jsonrpc":"2.0"}]', "BatchRefused", -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}', "MalformedRequest", -32600),
    ],
)
async def test_what_is_no_message(ready: Sidecar, tools: Tools, body: bytes, reason: str, code: int) -> None:
    status, said = await mcp(ready, body)
    assert status == 400
    assert said["error"]["code"] == code  # type: ignore[index]
    assert ready.kept.refusals[-1].reason == reason
    assert tools.got == []


@pytest.mark.parametrize("headers", [{"Mcp-Name": "other"}, {"Mcp-Method": "tools/list"}])
async def test_a_header_that_says_something_else_than_the_body(
    ready: Sidecar, headers: dict[str, str]
) -> None:
    status, said = await mcp(ready, tool_call(identifier="a"), **headers)
    assert status == 400
    assert (said["error"]["code"], said["id"]) == (-32020, "a")  # type: ignore[index]


@pytest.mark.parametrize(
    "path",
    ["//kb", "/kb/../api/x", "/api/%2e%2e/x", "/api/a%2fb", "/api/a%5cb", "/api/./x", "/api/a%00", "/api//x"],
)
async def test_a_path_that_can_be_read_in_two_ways(ready: Sidecar, tools: Tools, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ready.url.rsplit(":", 1)[1]))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    said = await reader.read()
    writer.close()
    assert b" 400 " in said.split(b"\r\n")[0]
    assert b"MalformedRequest" in said
    assert tools.got == []


async def test_absolute_form_goes_nowhere(ready: Sidecar, tools: Tools) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ready.url.rsplit(":", 1)[1]))
    writer.write(b"GET http://169.254.169.254/kb HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"MalformedRequest" in await reader.read()
    writer.close()
    assert tools.got == []


async def test_a_body_over_the_limit(tools: Tools) -> None:
    async with running(Limits(body_bytes=1000)) as small:
        small.install(servers=servers(tools.port))
        declared, said = await mcp(small, b"x" * 2000)
        assert (declared, said["reason"]) == (413, "BodyTooLarge")

        async def chunks() -> object:
            for _ in range(20):
                yield b"x" * 100

        async with small.http.post(f"{small.url}/kb", data=chunks()) as response:
            assert response.status == 413
        assert tools.got == []


async def test_a_header_that_is_too_large(ready: Sidecar) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ready.url.rsplit(":", 1)[1]))
    writer.write(b"GET /kb HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n")
    said = await reader.read()
    writer.close()
    assert b" 431 " in said.split(b"\r\n")[0]
    assert b"HeaderTooLarge" in said
    assert ready.kept.refusals[-1].reason == "HeaderTooLarge"


async def test_what_is_no_http(ready: Sidecar) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ready.url.rsplit(":", 1)[1]))
    writer.write(b"GET /kb HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
    assert b"MalformedRequest" in await reader.read()
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def resets(_: Sent, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def half(_: Sent, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()


async def nonsense(_: Sent, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 smtp.example.com ready\r\n")


async def crash(_: Sent, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(f"<h1>{SECRET}</h1>".encode(), "text/html", "500 Oops"))


async def hang(_: Sent, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def binary(_: Sent, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(SECRET.encode() + b"\xff", "image/png"))


async def malformed(_: Sent, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b'{"a": "' + SECRET.encode()))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (resets, "ConnectionReset"),
        (half, "IncompleteAnswer"),
        (nonsense, "MalformedAnswer"),
        (crash, "ServerError"),
        (hang, "TotalTimeout"),
        (malformed, "AnswerUnparsable"),
    ],
)
async def test_a_tool_that_fails(
    ready: Sidecar, tools: Tools, script: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    tools.script = script  # type: ignore[assignment]
    asking = asyncio.ensure_future(mcp(ready, tool_call(q=SECRET)))
    if script is hang:
        await until(lambda: tools.got)
        ready.turn(TOTAL_S)
    status, body = await asking
    assert status == 200
    assert body["result"]["isError"] is True  # type: ignore[index]
    assert "structuredContent" not in body["result"]  # type: ignore[operator]
    assert body["result"]["_meta"]["toolpolicy.dev/reason"] == reason  # type: ignore[index]
    record = ready.kept.calls[-1]
    assert (record.reason, record.outcome, record.tool, record.argument_keys) == (
        reason,
        "failure",
        "search",
        ("q",),
    )
    assert SECRET not in json.dumps(body) + caplog.text + repr(record)
    assert ready.kept.calls == [record]
    tools.script = tools._ok
    assert (await mcp(ready, tool_call()))[1]["result"] == {"content": []}


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [(resets, 502, "ConnectionReset"), (half, 502, "IncompleteAnswer"), (binary, 502, "AnswerUnscannable")],
)
async def test_an_http_tool_that_fails(
    ready: Sidecar, tools: Tools, script: object, status: int, reason: str
) -> None:
    tools.script = script  # type: ignore[assignment]
    got, body = await api(ready, "GET", "/v1/things/7")
    assert (got, body["reason"], body["tool"], body["policy"]) == (status, reason, "get", "ns/p")
    assert SECRET not in json.dumps(body)


async def test_a_server_that_is_not_there(sidecar: Sidecar) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sidecar.install(servers=servers(taken.getsockname()[1]))
        _, body = await mcp(sidecar, tool_call())
        assert "ConnectRefused" in json.dumps(body)
        status, plain = await mcp(sidecar, {"jsonrpc": "2.0", "id": 1, "method": "initialize"})
        assert (status, plain["reason"]) == (502, "ConnectRefused")


async def test_an_optional_tool_says_go_on_without(ready: Sidecar, tools: Tools) -> None:
    body = await late(ready, tools, tool_call("nice", identifier="x-1"))
    assert body["id"] == "x-1"
    assert "go on without it" in text_of(body)


@pytest.mark.parametrize("identifier", [7, "seven", 2**60])
async def test_the_id_is_echoed_as_it_came(ready: Sidecar, tools: Tools, identifier: object) -> None:
    body = await late(ready, tools, tool_call(identifier=identifier))
    assert body["id"] == identifier
    assert type(body["id"]) is type(identifier)


async def test_other_4xx_pass_unchanged(ready: Sidecar, tools: Tools) -> None:
    async def lost(_: Sent, writer: asyncio.StreamWriter) -> None:
        writer.write(
            answer(b'{"error": "no session"}', status="404 Not Found", extra="X-Kept: 1\r\nX-Kept: 2\r\n")
        )

    tools.script = lost
    async with ready.http.post(
        f"{ready.url}/kb", json=tool_call(), headers={"Mcp-Session-Id": "s"}
    ) as response:
        assert (response.status, await response.json()) == (404, {"error": "no session"})
        assert response.headers.getall("X-Kept") == ["1", "2"]
    assert tools.got[0].headers["mcp-session-id"] == "s"
    assert ready.kept.calls[-1].outcome == "neutral"


async def test_a_client_that_hangs_up_ends_the_call_upstream(ready: Sidecar, tools: Tools) -> None:
    tools.script = hang
    asking = asyncio.ensure_future(mcp(ready, tool_call()))
    await until(lambda: tools.got)
    asking.cancel()
    await asyncio.wait_for(tools.closed.wait(), HANG_S)
    await until(lambda: ready.kept.calls)
    record = ready.kept.calls[-1]
    assert (record.reason, record.outcome) == ("ClientGone", "neutral")
    assert ready.current.in_flight.requests == 0
    assert ready.pool.open == 0


async def test_a_timeout_in_the_handshake_era_is_told_to_the_server(ready: Sidecar, tools: Tools) -> None:
    headers = {"Mcp-Session-Id": "s", "MCP-Protocol-Version": "2025-11-25"}
    await late(ready, tools, tool_call(identifier=9), **headers)
    await until(lambda: len(tools.got) > 1)
    told = tools.got[1]
    assert json.loads(told.body) == {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": 9, "reason": "timed out"},
    }
    assert told.headers["mcp-session-id"] == "s"


async def test_in_the_modern_era_the_stream_is_closed_and_nothing_more(ready: Sidecar, tools: Tools) -> None:
    await late(ready, tools, tool_call(), **{"MCP-Protocol-Version": "2026-07-28"})
    await asyncio.wait_for(tools.closed.wait(), HANG_S)
    await asyncio.sleep(0.05)
    assert len(tools.got) == 1


@pytest.mark.parametrize("rest", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"\x00garbage"])
async def test_more_than_was_asked_for_never_answers_the_next_call(
    ready: Sidecar, tools: Tools, rest: bytes
) -> None:
    async def twice(_: Sent, writer: asyncio.StreamWriter) -> None:
        body = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"first"}]}}'
        writer.write(answer(body) + (rest or answer(body.replace(b"first", b"second"))))

    tools.script = twice
    _, body = await mcp(ready, tool_call())
    assert text_of(body) == "first"
    tools.script = tools._ok
    assert (await mcp(ready, tool_call()))[1]["result"] == {"content": []}
