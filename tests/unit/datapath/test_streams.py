"""Answers as server-sent events: event by event, redacted, and always with an end that a client can read."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.datapath.conftest import Sent, Sidecar, Tools, servers, tool_call
from tests.unit.datapath.loopback import HANG_S
from toolpolicy_sidecar.mcp import sse

NOTE = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"m":"sk-canary-12345678"}}'
DONE = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a sk-canary-12345678 b"}]}}'
PROGRESS = b": hello\nid: 1\nretry: 10\nevent: message\ndata: " + NOTE + b"\n\n"
RESULT = b"event: message\r\ndata: " + DONE + b"\r\n\r\n"
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def install(sidecar: Sidecar, tools: Tools, **more: object) -> None:
    redaction = {"patterns": [{"name": "token", "regex": "sk-[a-z0-9-]{8,}"}]}
    tool = {"name": "search", "server": "kb", **more}
    sidecar.install(servers=servers(tools.port), tools=[tool], redaction=redaction)


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_events_are_redacted_however_they_are_cut(sidecar: Sidecar, tools: Tools, size: int) -> None:
    async def play(_: Sent, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        whole = PROGRESS + RESULT
        for start in range(0, len(whole), size):
            writer.write(chunk(whole[start : start + size]))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    install(sidecar, tools)
    tools.script = play
    async with sidecar.http.post(f"{sidecar.url}/kb", json=tool_call()) as response:
        body = await response.read()
    assert response.headers["X-Accel-Buffering"] == "no"
    assert b"canary" not in body
    assert body.startswith(b": hello\nid: 1\nretry: 10\nevent: message\ndata: ")
    assert b'"text":"a [redacted:token] b"' in body
    record = sidecar.kept.calls[-1]
    assert (record.outcome, dict(record.redacted_response)) == ("success", {"token": 2})


async def test_an_event_goes_on_before_the_next_one_comes(sidecar: Sidecar, tools: Tools) -> None:
    go_on = asyncio.Event()

    async def play(_: Sent, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(PROGRESS))
        await writer.drain()
        await go_on.wait()
        writer.write(chunk(RESULT) + b"0\r\n\r\n")

    install(sidecar, tools)
    tools.script = play
    async with sidecar.http.post(f"{sidecar.url}/kb", json=tool_call()) as response:
        first = await asyncio.wait_for(response.content.readuntil(b"\n\n"), HANG_S)
        assert b"notifications/progress" in first
        go_on.set()
        assert b'"result"' in await response.read()


async def silent(_: Sent, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + chunk(PROGRESS))
    await asyncio.sleep(60)


async def cut(_: Sent, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + chunk(PROGRESS))
    await writer.drain()
    writer.transport.abort()


async def unanswered(_: Sent, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + chunk(PROGRESS) + b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "reason"),
    [(silent, "IdleTimeout"), (cut, "IncompleteAnswer"), (unanswered, "IncompleteAnswer")],
)
async def test_a_stream_that_fails_ends_with_a_readable_result(
    sidecar: Sidecar, tools: Tools, script: object, reason: str
) -> None:
    times = {"total": "1h", "idle": "10s"}
    install(sidecar, tools, circuitBreaker={"consecutiveFailures": 1}, timeout=times)
    tools.script = script  # type: ignore[assignment]
    modern = {"MCP-Protocol-Version": "2026-07-28"}  # before it, a stream with event ids could be resumed
    async with sidecar.http.post(
        f"{sidecar.url}/kb", json=tool_call(identifier="i"), headers=modern
    ) as response:
        if script is silent:
            await sidecar.turn_until(10, lambda: sidecar.kept.calls)
        body = await response.read()
    last = sse.event(body.strip().split(b"\n\n")[-1])
    said = json.loads(last.data or b"")
    assert (said["id"], said["result"]["isError"]) == ("i", True)
    assert said["result"]["_meta"]["toolpolicy.dev/reason"] == reason
    assert sidecar.kept.calls[-1].reason == reason
    assert sidecar.kept.transitions[-1].after == "Open"


async def test_the_get_stream_is_redacted_and_not_timed(sidecar: Sidecar, tools: Tools) -> None:
    go_on = asyncio.Event()

    async def play(_: Sent, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(RESULT[:40]))
        await go_on.wait()
        writer.write(chunk(RESULT[40:]) + b"0\r\n\r\n")

    install(sidecar, tools, timeout={"total": "2s", "idle": "1s"})
    tools.script = play
    async with sidecar.http.get(f"{sidecar.url}/kb", headers={"Last-Event-ID": "4"}) as response:
        sidecar.turn(10)
        await asyncio.sleep(0.05)
        go_on.set()
        body = await response.read()
    assert b"[redacted:token]" in body
    assert tools.got[0].headers["last-event-id"] == "4"
    assert sidecar.kept.calls == []


LINES = (
    b": a sk-canary-12345678\nid: sk-canary-12345678\nevent: sk-canary-12345678\nsk-canary-12345678: x\r\n"
    b"retry: 10\ndata: "
)


@pytest.mark.parametrize("path", ["/kb", "/api/v1/items/1"])
async def test_lines_beside_the_data_are_redacted(sidecar: Sidecar, tools: Tools, path: str) -> None:
    async def play(_: Sent, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"id: 7:a\nevent: message\n\n" + LINES + DONE + b"\n\n") + b"0\r\n\r\n")

    redaction = {"patterns": [{"name": "token", "regex": "sk-[a-z0-9-]{8,}"}]}
    sidecar.install(
        servers=servers(tools.port),
        tools=[
            {"name": "search", "server": "kb"},
            {"name": "item", "server": "api", "match": {"path": "/v1/items/{id}"}},
        ],
        redaction=redaction,
    )
    tools.script = play
    async with sidecar.http.post(f"{sidecar.url}{path}", json=tool_call()) as response:
        body = await response.read()
    assert b"canary" not in body
    assert body.startswith(
        b"id: 7:a\nevent: message\n\n: a [redacted:token]\nid: [redacted:token]\nevent: [redacted:token]\n"
        b"[redacted:token]: x\r\nretry: 10\ndata: {"
    )
    assert dict(sidecar.kept.calls[-1].redacted_response) == {"token": 5}


@pytest.mark.parametrize("path", ["/kb", "/api/v1/items/1"])
async def test_no_reason_phrase_goes_on_where_answers_are_redacted(
    sidecar: Sidecar, tools: Tools, path: str
) -> None:
    async def play(_: Sent, writer: asyncio.StreamWriter) -> None:
        head = HEAD.replace(b"200 OK", b"200 sk-canary-12345678")
        writer.write(head + chunk(RESULT) + b"0\r\n\r\n")

    install(sidecar, tools)
    tools.script = play
    async with sidecar.http.post(f"{sidecar.url}{path}", json=tool_call()) as response:
        await response.read()
    assert response.reason == "OK"


@given(
    st.lists(st.sampled_from([PROGRESS, RESULT, b"data: a\rdata: b\r\r", b": c\n\n"]), max_size=5), st.data()
)
def test_splitting_is_the_same_however_it_is_fed(events: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(events)
    splitter = sse.Splitter(10_000)
    got: list[sse.Event] = []
    at = 0
    while at < len(whole):
        step = data.draw(st.integers(1, 50))
        got += splitter.feed(whole[at : at + step])
        at += step
    assert b"".join(event.raw for event in got) + splitter.rest() == whole
    together = sse.Splitter(10_000)  # only comments may be given earlier, apart from their event
    assert [event.data for event in got if event.data] == [e.data for e in together.feed(whole) if e.data]


def test_data_over_several_lines_is_joined() -> None:
    assert sse.event(b"data: a\ndata:b\ndata\n\n").data == b"a\nb\n"


def test_an_event_over_the_limit_is_refused() -> None:
    with pytest.raises(sse.EventTooLarge):
        sse.Splitter(10).feed(b"data: 123456789")
