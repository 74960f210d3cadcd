"""Chosen headers on the wire, in both directions, whatever the answer is."""

import json
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import Exchange, World, redaction
from tests.unit.datapath.loopback import world as started_world
from toolpolicy_sidecar.limits import Limits

SECRET = "sk-canary12345678"
TICKET = "/api/v1/tickets/5"


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with started_world(Limits(body_bytes=65_536)) as world:
        yield world


@pytest.mark.parametrize("status", [200, 204, 302, 404, 503])
async def test_both_directions_of_an_http_tool(w: World, status: int) -> None:
    async def says(exchange: Exchange) -> None:
        more = {"X_Debug": SECRET, "Location": f"/base/v1/{SECRET}", "X_Other": SECRET}
        await exchange.answer(status, b"" if status == 204 else b"{}", **more)

    w.tool.script = says
    w.install(redaction=redaction(headers=("X-Debug", "Location", "X-Trace")))
    agent = await w.agent()
    answer = await agent.request("GET", TICKET, headers=[("X-Trace", SECRET), ("X-Mine", SECRET)])
    assert answer.status == status
    assert (answer.header("X-Debug"), answer.header("X-Other")) == ("[key]", SECRET)
    assert answer.header("Location") == ("/api/v1/%5Bkey%5D" if status == 302 else "/base/v1/%5Bkey%5D")
    assert (w.tool.seen[0].header("X-Trace"), w.tool.seen[0].header("X-Mine")) == ("[key]", SECRET)
    record = await w.recorded_call()
    assert (record.redacted_request, record.redacted_response) == ({"key": 1}, {"key": 2})


@pytest.mark.parametrize("events", [False, True])
async def test_both_directions_of_an_mcp_tool(w: World, *, events: bool) -> None:
    async def says(exchange: Exchange) -> None:
        if events:
            await exchange.events(b"data: %b\n\n" % exchange.message(), X_Debug=SECRET)
            await exchange.end()
        else:
            await exchange.answer(200, exchange.message(), X_Debug=SECRET)

    w.tool.script = says
    w.install(redaction=redaction(headers=("*",)))
    answer = await (await w.agent()).call(headers=[("X-Trace", SECRET), ("Authorization", SECRET)])
    assert answer.header("X-Debug") == "[key]"
    assert (w.tool.seen[0].header("X-Trace"), w.tool.seen[0].header("Authorization")) == ("[key]", SECRET)
    record = await w.recorded_call()
    assert (record.redacted_request, record.redacted_response) == ({"key": 1}, {"key": 1})


async def test_what_belongs_to_no_tool(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"jsonrpc":"2.0","id":1,"result":{}}', X_Debug=SECRET)

    w.tool.script = says
    w.install(redaction=redaction(headers=("X-Debug",)))
    asked = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
    answer = await (await w.agent()).request("POST", "/kb", asked, [("Content-Type", "application/json")])
    assert answer.header("X-Debug") == "[key]"
    assert [dict(message.hits) for message in w.recorded.messages] == [{"key": 1}]


async def test_blocked_by_a_header(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, b"{}", X_Debug=SECRET)

    w.tool.script = says
    w.install(redaction=redaction(headers=("X-Debug",), action="Block"))
    agent = await w.agent()
    answer = await agent.request("GET", TICKET)
    assert (answer.status, answer.json["reason"]) == (502, "AnswerBlocked")
    assert SECRET not in str(answer.headers)
    sent = await agent.request("GET", TICKET, headers=[("X-Debug", SECRET)])
    assert (sent.status, sent.json["reason"]) == (403, "RequestBlocked")
    assert len(w.tool.seen) == 1


async def test_shadow_counts_them(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, b"{}", X_Debug=SECRET)

    w.tool.script = says
    w.install(redaction=redaction(headers=("X-Debug",)), mode="Shadow")
    answer = await (await w.agent()).request("GET", TICKET)
    assert answer.header("X-Debug") == SECRET
    assert (await w.recorded_call()).shadow_redacted_response == {"key": 1}


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [("application/json", "br"), ("application/json", "gzip"), ("text/event-stream", "br")],
)
async def test_pass_lets_pass_what_cannot_be_decoded(w: World, kind: str, encoding: str) -> None:
    body = b"\x01data: sk-canary12345678\n\n"

    async def says(exchange: Exchange) -> None:
        await exchange.answer(200, body, kind, Content_Encoding=encoding)

    w.tool.script = says
    w.install(redaction=redaction(on_unscannable="Pass"))
    answer = await (await w.agent()).request("GET", TICKET)
    assert (answer.status, answer.body, answer.header("Content-Encoding")) == (200, body, encoding)


@pytest.mark.parametrize("chunked", [False, True])
async def test_pass_lets_pass_what_is_too_large(w: World, *, chunked: bool) -> None:
    body = json.dumps({"a": "x" * 70_000, "b": SECRET}).encode()

    async def says(exchange: Exchange) -> None:
        if chunked:
            lines = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            await exchange.raw(lines.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        else:
            await exchange.answer(200, body)

    w.tool.script = says
    w.install(redaction=redaction(on_unscannable="Pass"))
    agent = await w.agent()
    assert (await agent.request("GET", TICKET)).body == body

    async def calls(exchange: Exchange) -> None:
        await exchange.answer(200, exchange.message("x" * 70_000))

    w.tool.script = calls
    assert len((await agent.call()).body) > 70_000
    asked = b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a"}}'
    kinds = [("Content-Type", "application/json")]
    assert len((await agent.request("POST", "/kb", asked, kinds)).body) > 70_000
