"""What stands in for an answer that the tool does not give, over sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import (
    MCP_HEADERS,
    Exchange,
    Script,
    World,
    breaker,
    redaction,
    rules,
    tools_call,
    world,
)
from toolpolicy_api.snapshot import Fallback, MessageFallback, StaticFallback
from toolpolicy_sidecar.fallback import occasion
from toolpolicy_sidecar.metrics import Metrics
from toolpolicy_sidecar.reasons import Reason

TICKET = "/api/v1/tickets/5"
TEXT = "Look it up at https://status.example/kb."


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def install(w: World, fallback: Fallback, **fields: object) -> None:
    w.install(tool_rules=rules(fallback=fallback, **fields))


def answering(status: int, body: bytes = b"{}") -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, body)

    return script


async def hanging(exchange: Exchange) -> None:
    await exchange.closed()


async def resetting(exchange: Exchange) -> None:
    exchange.reset()


NEVER = {
    "UnknownServer",
    "MethodNotListed",
    "ToolDisabled",
    "NoPolicy",
    "EgressDenied",
    "RequestBlocked",
    "AnswerBlocked",
    "MalformedRequest",
    "BatchRefused",
    "HeaderMismatch",
    "BodyTooLarge",
    "HeaderTooLarge",
    "UnsupportedEncoding",
    "UpgradeRefused",
    "RequestUnscannable",
    "RequestUnparsable",
    "RequestTooDeep",
    "RequestTooCostly",
    "RequestTimeout",
    "Draining",
    "AnswerTooLarge",
    "AnswerUnscannable",
    "AnswerEncodingUnsupported",
    "AnswerUnparsable",
    "AnswerTooDeep",
    "AnswerTooCostly",
    "InternalError",
    "ClientError",
    "ToolError",
    "ClientGone",
}


def test_of_every_reason_it_is_decided_whether_a_fallback_answers() -> None:
    assert occasion.REASONS.isdisjoint(NEVER)
    assert set(Reason) == occasion.REASONS | NEVER


async def test_a_message_is_an_error_in_the_words_of_the_policy(w: World) -> None:
    install(w, MessageFallback(TEXT), breaker=breaker(1))
    w.tool.script = resetting
    agent = await w.agent()
    first = await agent.call()
    assert first.text == TEXT  # asserts isError, too
    assert first.meta == {
        "toolpolicy.dev/reason": "ConnectionReset",
        "toolpolicy.dev/policy": "support/agent",
        "toolpolicy.dev/tool": "search",
        "toolpolicy.dev/fallback": "Message",
    }
    second = await agent.call()
    assert second.text == TEXT
    assert second.meta["toolpolicy.dev/reason"] == "CircuitOpen"
    assert 55 <= second.meta["toolpolicy.dev/retryAfterSeconds"] <= 60
    record = await w.recorded_call(2)
    assert (record.outcome, record.reason, record.fallback) == ("refused", "CircuitOpen", "Message")


async def test_a_message_of_an_http_tool_is_a_problem(w: World) -> None:
    install(w, MessageFallback(TEXT), breaker=breaker(1))
    w.tool.script = resetting
    agent = await w.agent()
    answer = await agent.request("GET", TICKET)
    assert (answer.status, answer.header("Content-Type")) == (502, "application/problem+json")
    assert (answer.json["detail"], answer.json["reason"]) == (TEXT, "ConnectionReset")
    assert answer.header("Toolpolicy-Fallback") == answer.json["fallback"] == "Message"
    assert answer.header("Toolpolicy-Reason") == "ConnectionReset"
    refused = await agent.request("GET", TICKET)
    assert (refused.status, refused.json["detail"]) == (503, TEXT)
    assert 55 <= int(refused.header("Retry-After") or 0) <= 60


@pytest.mark.parametrize(
    ("content", "kind", "structured"),
    [
        ("no articles today", "text/plain; charset=utf-8", None),
        ('{\n "articles": []}', "application/json", {"articles": []}),
        ('["a", 1.50]', "application/json", None),
        ("42", "text/plain; charset=utf-8", None),
        ("{not json}", "text/plain; charset=utf-8", None),
    ],
)
async def test_a_static_answer_is_a_marked_success(
    w: World, content: str, kind: str, structured: object
) -> None:
    install(w, StaticFallback(content))
    w.tool.script = resetting
    agent = await w.agent()
    result = (await agent.call()).json["result"]
    assert (result["isError"], result["resultType"]) == (False, "complete")
    own, mark = result["content"]
    assert own["text"] == content
    assert mark["text"].startswith("This is a fallback answer: set by the policy, not the tool's own.")
    assert "may have acted" in mark["text"]
    assert result.get("structuredContent") == structured
    assert result["_meta"]["toolpolicy.dev/fallback"] == "Static"

    answer = await agent.request("GET", TICKET)
    assert (answer.status, answer.body.decode(), answer.header("Content-Type")) == (200, content, kind)
    assert answer.header("Toolpolicy-Fallback") == "Static"
    assert answer.header("Toolpolicy-Reason") == "ConnectionReset"
    record = await w.recorded_call(2)
    assert (record.outcome, record.status, record.fallback) == ("failure", 200, "Static")


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_what_a_failing_server_says_is_replaced(w: World, status: int) -> None:
    install(w, StaticFallback("instead"), breaker=breaker(1))
    w.tool.script = answering(status, b'{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"secret"}}')
    agent = await w.agent()
    answer = await agent.request("GET", TICKET)
    assert (answer.status, answer.body) == (200, b"instead")
    result = (await agent.call()).json["result"]
    assert result["content"][0]["text"] == "instead"
    reason = "Throttled" if status == 429 else "ServerError"
    assert result["_meta"]["toolpolicy.dev/reason"] == reason
    assert [record.reason for record in w.recorded.calls] == [reason, reason]
    opened = 0 if status == 429 else 2
    assert len(w.recorded.transitions) == opened  # a throttle opens no circuit, with a fallback or without


@pytest.mark.parametrize("status", [200, 404, 501])
async def test_what_a_working_server_says_is_not(w: World, status: int) -> None:
    install(w, StaticFallback("instead"))
    w.tool.script = answering(status, b'{"own":1}')
    agent = await w.agent()
    answer = await agent.request("GET", TICKET)
    assert (answer.status, answer.body) == (status, b'{"own":1}')
    assert (await w.recorded_call()).fallback is None


async def test_a_tool_that_says_no_is_believed(w: World) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.result("no such article", isError=True)

    install(w, StaticFallback("instead"))
    w.tool.script = script
    assert (await (await w.agent()).call()).text == "no such article"


async def test_in_time(w: World) -> None:
    install(w, StaticFallback("instead"), total_ms=200, attempt_ms=200)
    w.tool.script = hanging
    result = (await (await w.agent()).call()).json["result"]
    assert result["content"][0]["text"] == "instead"
    assert result["_meta"]["toolpolicy.dev/reason"] == "TotalTimeout"


async def test_a_stream_that_breaks_ends_with_the_fallback(w: World) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.events(b'data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n')
        exchange.reset()

    install(w, StaticFallback('{\n"articles": []}'))
    w.tool.script = script
    answer = await (await w.agent()).call()
    assert answer.header("Content-Type") == "text/event-stream"
    *_, last = answer.body.decode().strip().split("data: ")
    assert '"structuredContent":{"articles":[]}' in last
    assert "\n" not in last
    assert (await w.recorded_call()).fallback == "Static"


async def test_half_an_http_answer_is_cut_all_the_same(w: World) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        exchange.reset()

    install(w, StaticFallback("instead"))
    w.tool.script = script
    with pytest.raises(asyncio.IncompleteReadError):
        await (await w.agent()).request("GET", TICKET)
    assert (await w.recorded_call()).fallback is None


async def test_the_kill_switch_says_so(w: World) -> None:
    install(w, StaticFallback("instead"), enabled=False)
    answer = await (await w.agent()).call()
    assert answer.meta["toolpolicy.dev/reason"] == "ToolDisabled"
    assert "is disabled" in answer.text


async def test_mistakes_of_the_agent_are_told_to_it(w: World) -> None:
    install(w, StaticFallback("instead"))
    agent = await w.agent()
    assert (await agent.request("DELETE", TICKET)).json["reason"] == "MethodNotListed"
    headers = [("Mcp-Name", "another"), *MCP_HEADERS]
    answer = await agent.request("POST", "/kb", tools_call(), headers)
    assert answer.status == 400


async def test_what_redaction_withholds_stays_withheld(w: World) -> None:
    w.install(tool_rules=rules(fallback=StaticFallback("instead")), redaction=redaction())
    agent = await w.agent()
    broken = await agent.request("POST", TICKET, b"{", [("Content-Type", "application/json")])
    assert broken.json["reason"] == "RequestUnparsable"
    w.tool.script = answering(200, b"{")
    assert (await agent.request("GET", TICKET)).json["reason"] == "AnswerUnparsable"


async def test_a_policy_that_is_off_has_no_fallback(w: World) -> None:
    w.install(tool_rules=rules(fallback=StaticFallback("instead")), mode="Off")
    w.tool.script = answering(503, b"own words")
    answer = await (await w.agent()).request("GET", TICKET)
    assert (answer.status, answer.body) == (503, b"own words")


async def test_metrics_count_fallbacks(w: World) -> None:
    install(w, StaticFallback("instead"))
    w.tool.script = resetting
    await (await w.agent()).call()
    metrics = Metrics(w.current)
    metrics.call(await w.recorded_call())
    wanted = (
        'toolpolicy_fallbacks_total{fallback="Static",policy="support/agent",reason="ConnectionReset",'
        'result="Answered",server="kb",tool="search"} 1.0'
    )
    assert wanted in metrics.text().decode()
