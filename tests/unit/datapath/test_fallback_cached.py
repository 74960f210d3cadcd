"""The last good answer to the same call: what is the same, what is kept, and for how long."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.datapath.loopback import Agent, Answer, Exchange, Script, World, redaction, rules, world
from toolpolicy_api.channel import ToolKey
from toolpolicy_api.snapshot import CachedFallback
from toolpolicy_sidecar.fallback.cache import ANSWER_BYTES, Answers, Whole

TICKET = "/api/v1/tickets/5"
HOUR = CachedFallback(3_600_000)
SECRET = "sk-canary12345678"


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        made.install(tool_rules=rules(fallback=HOUR))
        yield made


def saying(body: bytes, status: int = 200, kind: str = "application/json", **more: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, body, kind, **more)

    return script


async def failing(exchange: Exchange) -> None:
    await exchange.answer(503, b"down")


def result(text: str = "fine", **more: Any) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.result(text, **more)

    return script


def events(text: str) -> Script:
    async def script(exchange: Exchange) -> None:
        progress = b'data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n'
        await exchange.events(progress, b"data: " + exchange.message(text) + b"\n\n")
        await exchange.end()

    return script


def chunked(*pieces: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        await exchange.raw(head)
        await exchange.chunks(*pieces)
        await exchange.end()

    return script


def is_cached(answer: Answer) -> bool:
    return answer.header("Toolpolicy-Fallback") == "Cached"


@pytest.mark.parametrize("first", [result("found", _meta={"own": 1}), events("found")], ids=["json", "sse"])
async def test_the_last_good_answer_comes_again(w: World, first: Script) -> None:
    agent = await w.agent()
    w.tool.script = first
    await agent.request("POST", "/kb", _call({"query": "a", "page": 1}))
    w.tool.script = failing
    answer = await agent.request("POST", "/kb", _call({"page": 1, "query": "a"}, identifier="other id"))
    assert answer.json["id"] == "other id"
    again = answer.json["result"]
    assert again["content"][0]["text"] == "found"
    assert "the tool's own of 0 s ago, to the same call" in again["content"][1]["text"]
    assert not again.get("isError")
    assert again["_meta"]["toolpolicy.dev/fallback"] == "Cached"
    assert again["_meta"]["toolpolicy.dev/reason"] == "ServerError"
    assert again["_meta"]["toolpolicy.dev/ageSeconds"] == 0
    record = await w.recorded_call(2)
    assert (record.outcome, record.fallback, record.fallback_missed) == ("failure", "Cached", None)


def _call(arguments: Any, **more: Any) -> bytes:
    identifier = more.pop("identifier", 1)
    params = {"name": "search", "arguments": arguments, **more}
    return json.dumps({"jsonrpc": "2.0", "id": identifier, "method": "tools/call", "params": params}).encode()


async def known(agent: Agent, w: World, body: bytes, *headers: tuple[str, str]) -> bool:
    """Is there an answer for this call while the tool fails?"""
    w.tool.script = failing
    answer = await agent.request("POST", "/kb", body, headers)
    return bool(answer.json["result"]["_meta"].get("toolpolicy.dev/fallback"))


async def test_what_makes_calls_the_same(w: World) -> None:
    agent = await w.agent()
    w.tool.script = result()
    alice = ("Authorization", "Bearer alice")
    body = _call({"q": [1, {"b": 2, "a": 1}]}, _meta={"progressToken": 1, "user": "u1"})
    await agent.request("POST", "/kb", body, [alice, ("X-Request-Id", "1"), ("Mcp-Session-Id", "s1")])

    same = _call({"q": [1, {"a": 1, "b": 2}]}, _meta={"progressToken": 2, "user": "u1"})
    assert await known(agent, w, same, alice, ("X-Request-Id", "2"), ("Mcp-Session-Id", "s2"))
    assert not await known(agent, w, same, ("Authorization", "Bearer bob"))
    assert not await known(agent, w, same)
    assert not await known(agent, w, same, alice, ("X-Tenant", "other"))
    for other in (
        _call({"q": [{"b": 2, "a": 1}, 1]}, _meta={"user": "u1"}),
        _call({"q": [1, {"a": 1, "b": "2"}]}, _meta={"user": "u1"}),
        _call({"q": [1, {"b": 2, "a": 1}]}, _meta={"user": "u2"}),
        _call({"q": [1, {"b": 2, "a": 1}]}, _meta={"user": "u1"}, requestState="x"),
        _call({"q": [1, {"b": 2, "a": 1}]}, _meta={"user": "u1"}).replace(b'"search"', b'"search_more"'),
    ):
        assert not await known(agent, w, other, alice)
    record = await w.recorded_call(10)
    assert (record.fallback, record.fallback_missed) == ("Cached", "NotCached")


@pytest.mark.parametrize(
    "script",
    [
        result(isError=True),
        result(resultType="input_required"),
        result(resultType="task"),
        saying(b'{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no"}}'),
        result("x" * ANSWER_BYTES),
    ],
)
async def test_what_is_not_kept(w: World, script: Script) -> None:
    agent = await w.agent()
    w.tool.script = script
    await agent.call()
    w.tool.script = failing
    assert "toolpolicy.dev/fallback" not in (await agent.call()).meta


@pytest.mark.parametrize(
    "script", [saying(b'{"own": 1}', kind="application/x+json"), chunked(b'{"own"', b": 1}")]
)
async def test_an_http_answer_comes_again_with_its_age(w: World, script: Script) -> None:
    agent = await w.agent()
    w.tool.script = script
    first = await agent.request("GET", TICKET + "?a=b")
    assert dict(w.tool.seen[0].headers)["Accept-Encoding"] == "identity"
    w.tool.script = failing
    answer = await agent.request("GET", TICKET + "?a=b")
    assert (answer.status, answer.body) == (200, b'{"own": 1}')
    assert answer.header("Content-Type") == first.header("Content-Type")
    assert (answer.header("Age"), answer.header("Toolpolicy-Reason")) == ("0", "ServerError")
    assert is_cached(answer)
    missed = await agent.request("GET", TICKET + "?a=c")
    assert (missed.status, missed.json["reason"]) == (502, "ServerError")
    assert missed.json["detail"].startswith("The tool ticket failed: its server answered HTTP 503.")


async def test_the_body_and_the_method_count(w: World) -> None:
    agent = await w.agent()
    await agent.request("POST", TICKET, b"one")
    w.tool.script = failing
    assert is_cached(await agent.request("POST", TICKET, b"one"))
    assert not is_cached(await agent.request("POST", TICKET, b"two"))
    assert not is_cached(await agent.request("GET", TICKET))
    assert not is_cached(await agent.request("POST", TICKET, b"one", [("Cookie", "other")]))


@pytest.mark.parametrize(
    "script",
    [
        saying(b"created", 201),
        saying(b"private", Cache_Control="private, No-Store"),
        saying(b"\x1f\x8b", Content_Encoding="gzip"),
        saying(b"x" * (ANSWER_BYTES + 1)),
        chunked(b"x" * ANSWER_BYTES, b"x"),
        saying(b""),
    ],
)
async def test_what_is_not_kept_of_http(w: World, script: Script) -> None:
    agent = await w.agent()
    w.tool.script = script
    await agent.request("GET", TICKET)
    w.tool.script = failing
    assert not is_cached(await agent.request("GET", TICKET))


async def test_half_an_answer_is_not_kept(w: World) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        exchange.reset()

    w.tool.script = half
    with pytest.raises(asyncio.IncompleteReadError):
        await (await w.agent()).request("GET", TICKET)
    w.tool.script = failing
    assert not is_cached(await (await w.agent()).request("GET", TICKET))


async def test_only_what_is_redacted_is_kept(w: World) -> None:
    w.install(tool_rules=rules(fallback=HOUR), redaction=redaction())
    agent = await w.agent()
    w.tool.script = result(f"use {SECRET}")
    await agent.call(key=SECRET)
    w.tool.script = failing
    answer = await agent.call(key=SECRET)
    assert answer.json["result"]["content"][0]["text"] == "use [key]"
    assert "toolpolicy.dev/fallback" not in (await agent.call(key="sk-anothersecret")).meta
    w.install(tool_rules=rules(fallback=HOUR))  # what was kept stays as it was kept
    assert SECRET.encode() not in (await agent.call(key=SECRET)).body


async def test_stricter_rules_hold_for_what_was_kept_before(w: World) -> None:
    agent = await w.agent()
    w.tool.script = result(f"use {SECRET}")
    await agent.call()
    w.tool.script = saying(f"use {SECRET}".encode(), kind="text/plain")
    await agent.request("GET", TICKET)
    w.install(tool_rules=rules(fallback=HOUR), redaction=redaction())
    w.tool.script = failing
    assert (await agent.call()).json["result"]["content"][0]["text"] == "use [key]"
    answer = await agent.request("GET", TICKET)
    assert (answer.body, is_cached(answer)) == (b"use [key]", True)


async def test_a_schema_that_has_changed_since(w: World) -> None:
    agent = await w.agent()
    w.tool.script = result(structuredContent={"n": 1})
    await agent.call()
    for required, missed in (("n", None), ("m", "SchemaMismatch")):
        schema = {"type": "object", "required": [required]}
        tools = {"tools": [{"name": "search", "outputSchema": schema}]}
        w.tool.script = saying(json.dumps({"jsonrpc": "2.0", "id": 1, "result": tools}).encode())
        await agent.request("POST", "/kb", b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
        w.tool.script = failing
        answer = await agent.call()
        assert answer.json["result"].get("isError", False) is bool(missed)
        assert (await w.recorded_call(3 if missed else 2)).fallback_missed == missed


async def test_at_another_place_it_is_another_tool(w: World) -> None:
    agent = await w.agent()
    await agent.request("GET", TICKET)
    w.tool.script = failing
    assert is_cached(await agent.request("GET", TICKET))
    w.install(tool_rules=rules(fallback=HOUR), host="localhost")
    assert not is_cached(await agent.request("GET", TICKET))


async def test_without_the_fallback_nothing_is_kept(w: World) -> None:
    w.install()
    agent = await w.agent()
    await agent.request("GET", TICKET)
    w.install(tool_rules=rules(fallback=HOUR))
    w.tool.script = failing
    assert not is_cached(await agent.request("GET", TICKET))


# the cache itself
A, B = (ToolKey("ns/p", "s", name) for name in "ab")


def test_an_answer_is_kept_for_its_time() -> None:
    answers = Answers()
    answers.put(A, b"1", Whole(b"x"), 100.0)
    kept = answers.get(A, b"1", 160.0, 60.0)
    assert kept
    assert (kept.answer.body, kept.at) == (b"x", 100.0)
    assert answers.get(B, b"1", 160.0, 60.0) is None
    assert answers.get(A, b"1", 160.1, 60.0) is None
    assert answers.size_bytes == 0


def test_the_least_recently_used_goes_first() -> None:
    answers = Answers(tool_bytes=3000)
    for name in (b"1", b"2"):
        answers.put(A, name, Whole(b"x" * 600), 0.0)
    answers.get(A, b"1", 0.0, 1.0)
    answers.put(A, b"3", Whole(b"x" * 600), 0.0)
    assert [bool(answers.get(A, name, 0.0, 1.0)) for name in (b"1", b"2", b"3")] == [True, False, True]


def test_a_chatty_tool_pushes_out_its_own() -> None:
    answers = Answers(process_bytes=10_000)
    answers.put(B, b"quiet", Whole(b"x" * 1000), 0.0)
    for number in range(100):
        answers.put(A, b"%d" % number, Whole(b"x" * 1000), 0.0)
    assert answers.get(B, b"quiet", 0.0, 1.0)
    assert answers.get(A, b"99", 0.0, 1.0)
    assert answers.get(A, b"0", 0.0, 1.0) is None


def test_what_is_too_large_replaces_what_is_older_with_nothing() -> None:
    answers = Answers()
    answers.put(A, b"1", Whole(b"old"), 0.0)
    answers.put(A, b"1", Whole(b"x" * (ANSWER_BYTES + 1)), 1.0)
    assert answers.get(A, b"1", 1.0, 60.0) is None


steps = st.lists(
    st.tuples(
        st.sampled_from([A, B]),
        st.binary(min_size=1, max_size=1),
        st.integers(0, 2000),
        st.sampled_from(["put", "get", "old"]),
    ),
    max_size=60,
)


@given(steps)
def test_the_bounds_hold_and_the_sizes_add_up(script: list[tuple[ToolKey, bytes, int, str]]) -> None:
    answers = Answers(tool_bytes=6000, process_bytes=9000)
    for tool, name, size, what in script:
        if what == "put":
            answers.put(tool, name, Whole(b"x" * size), 0.0)
            kept = answers.get(tool, name, 0.0, 1.0)
            assert kept
            assert len(kept.answer.body) == size
        else:
            answers.get(tool, name, 0.0 if what == "get" else 2.0, 1.0)
        found = [
            (key, len(kept.answer.body) + 500)
            for key, entries in answers._kept.items()
            for kept in entries.values()
        ]
        assert answers.size_bytes == sum(size for _, size in found) <= 9000
        for key in (A, B):
            assert sum(size for owner, size in found if owner == key) <= 6000
