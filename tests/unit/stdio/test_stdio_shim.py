"""A nasty server, and agents that do everything at once."""

import asyncio
import json

import pytest

from tests.unit.datapath.loopback import HANG_S, until
from tests.unit.stdio.piped import NAME, call, piped
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.stdio.lines import TooLong
from toolpolicy_sidecar.stdio.shim import CALLS_AT_ONCE

SECRET = "sk-canary12345678"
KEYS = {"detectors": [], "patterns": [{"name": "key", "regex": "sk-[a-z0-9]+", "replace": "[key]"}]}
SOON = {"timeout": {"total": "100ms"}}


async def test_a_call_is_answered_under_the_id_that_the_agent_knows() -> None:
    async with piped() as p:
        for identifier in (7, "seven", 'quo"te'):
            await p.say(call(identifier))
            asked = await p.got()
            assert 2**30 < asked["id"] < 2**31
            await p.result(asked)
            answer = await p.heard()
            assert (answer["id"], answer["result"]["content"][0]["text"]) == (identifier, "fine")
        await p.shim.drained(HANG_S)
        assert [(c.tool, c.outcome, c.protocol) for c in p.recorded.calls] == [
            ("search", "success", "MCP")
        ] * 3


@pytest.mark.parametrize(
    "line",
    [
        b'{ "jsonrpc":"2.0", "id":1,  "method":"initialize","params":{"protocolVersion":"2025-11-25"}}',
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","id":"x","result":{"role":"assistant", "content":{"text":"\\u00e9"}}}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId": 99}}\r',
    ],
)
async def test_everything_else_passes_byte_for_byte_both_ways(line: bytes) -> None:
    async with piped() as p:
        await p.say(line)
        assert await p.got_raw() == line + b"\n"
        await p.answer(line)
        assert await p.heard_raw() == line + b"\n"


async def test_questions_of_the_server_and_their_answers_pass_while_a_call_waits() -> None:
    async with piped() as p:
        await p.say(call(1))
        asked = await p.got()
        question = {"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}}
        await p.answer(question)
        assert await p.heard() == question
        reply = {"jsonrpc": "2.0", "id": 1, "result": {"role": "assistant"}}
        await p.say(reply)
        assert await p.got() == reply
        await p.result(asked)
        assert (await p.heard())["result"]["content"]


async def test_a_hung_server_is_told_and_its_late_answer_is_nobodys() -> None:
    async with piped(defaults={"timeout": {"total": "1s"}}) as p:
        await p.say(call(1))
        asked = await p.got()
        answer = await p.heard()
        assert (answer["id"], answer["result"]["isError"]) == (1, True)
        assert answer["result"]["_meta"]["toolpolicy.dev/reason"] == "TotalTimeout"
        taken_back = await p.got()
        assert taken_back["method"] == "notifications/cancelled"
        assert taken_back["params"]["requestId"] == asked["id"]
        p.install(defaults={"timeout": {"total": "30s"}})
        await p.say(call(1))  # some agents use one id for all their calls
        again = await p.got()
        await p.result(asked, "late")
        await p.result(again, "in time")
        assert (await p.heard())["result"]["content"][0]["text"] == "in time"


async def test_the_circuit_opens_and_refuses_without_the_server() -> None:
    breaker = {"circuitBreaker": {"consecutiveFailures": 1, "openFor": "1h"}}
    async with piped(defaults=SOON | breaker) as p:
        reasons = []
        for identifier in (1, 2):
            await p.say(call(identifier))
            reasons.append((await p.heard())["result"]["_meta"]["toolpolicy.dev/reason"])
        await p.shim.drained(HANG_S)
        assert reasons == ["TotalTimeout", "CircuitOpen"]
        assert [t.after for t in p.recorded.transitions] == ["Open"]
        assert [c.attempts for c in p.recorded.calls] == [1, 0]


async def test_a_retry_is_one_call_to_the_agent() -> None:
    rules = {"timeout": {"attempt": "500ms"}, "retry": {"idempotent": True, "backoff": {"base": "1ms"}}}
    async with piped(defaults=rules) as p:
        await p.say(call(1))
        first = await p.got()
        assert (await p.got())["params"]["requestId"] == first["id"]
        hearing = asyncio.ensure_future(p.heard())
        while not hearing.done():  # more than once, if the machine is so slow
            asked = await p.got()
            if asked["method"] == "tools/call":
                await p.result(first, "late")
                await p.result(asked, "again")
                await asyncio.wait({hearing}, timeout=0.5)
        assert hearing.result()["id"] == 1
        assert hearing.result()["result"]["content"][0]["text"] == "again"
        await p.shim.drained(HANG_S)
        assert p.recorded.calls[0].attempts >= 2


async def test_the_agent_takes_a_call_back() -> None:
    async with piped() as p:
        await p.say(call(5))
        asked = await p.got()
        await p.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}})
        taken_back = await p.got()
        assert taken_back["params"]["requestId"] == asked["id"]
        await p.result(asked, "late")
        await p.say(call(6))
        await p.result(await p.got(), "fine")
        assert (await p.heard())["id"] == 6
        await p.shim.drained(HANG_S)
        assert [(c.outcome, c.reason) for c in p.recorded.calls] == [
            ("neutral", Reason.ClientGone),
            ("success", None),
        ]


async def test_slots_hold_calls_back_and_all_are_answered() -> None:
    async with piped(defaults={"concurrency": {"max": 2, "queue": 100}}) as p:
        for identifier in range(20):
            await p.say(call(identifier))
        for _ in range(20):
            await p.result(await p.got())
        answered = [(await p.heard())["id"] for _ in range(20)]
        assert sorted(answered) == list(range(20))
        await p.shim.drained(HANG_S)
        await until(lambda: p.current.in_flight.requests == 0)


async def test_more_calls_than_are_taken_at_once_wait_unread() -> None:
    async with piped() as p:
        for identifier in range(CALLS_AT_ONCE):
            await p.say(call(identifier))
        one_more = asyncio.ensure_future(p.say(call("one more")))
        await asyncio.sleep(0.01)
        assert not one_more.done()
        await p.result(await p.got())
        await one_more


async def test_a_server_that_reads_nothing_holds_no_call_past_its_time() -> None:
    async with piped(defaults=SOON) as p:
        big = "x" * 300_000
        for identifier in range(3):
            await p.say(call(identifier, arguments={"q": big}))
        assert {(await p.heard())["id"] for _ in range(3)} == {0, 1, 2}


async def test_the_end_of_the_server_answers_every_call() -> None:
    async with piped() as p:
        await p.say(call(1))
        await p.got()
        p.pipe.end("its process was ended by SIGKILL")
        text = (await p.heard())["result"]["content"][0]["text"]
        assert "The connection to the tool search broke: its process was ended by SIGKILL." in text
        await p.say(call(2))
        text = (await p.heard())["result"]["content"][0]["text"]
        assert "could not be reached: its process was ended by SIGKILL. It was not called." in text


async def test_redaction_both_ways_and_of_what_is_said_beside_answers() -> None:
    async with piped(redaction=KEYS) as p:
        await p.say(call(1, arguments={"q": SECRET}, _meta={"progressToken": "t"}))
        asked = await p.got()
        assert asked["params"]["arguments"] == {"q": "[key]"}
        params = {"progressToken": "t", "progress": 1, "message": SECRET}
        await p.answer({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        assert (await p.heard())["params"]["message"] == "[key]"
        await p.result(asked, SECRET)
        assert (await p.heard())["result"]["content"][0]["text"] == "[key]"
        reading = {"jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": {"uri": "note://1"}}
        await p.say(reading)
        await p.got()
        await p.answer({"jsonrpc": "2.0", "id": 2, "result": {"contents": [{"text": SECRET}]}})
        assert (await p.heard())["result"]["contents"][0]["text"] == "[key]"


async def test_progress_is_redacted_as_its_tool_says() -> None:
    tools = [{"name": "search", "server": NAME, "redaction": KEYS}]
    async with piped(tools=tools) as p:
        await p.say(call(1, _meta={"progressToken": 9}))
        await p.got()
        params = {"progressToken": 9, "progress": 1, "message": SECRET}
        await p.answer({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        assert (await p.heard())["params"]["message"] == "[key]"


async def test_what_is_no_message_passes_only_where_nothing_is_redacted() -> None:
    async with piped() as p:
        await p.answer(b"Listening on stdio...")
        assert await p.heard_raw() == b"Listening on stdio...\n"
        p.install(redaction=KEYS)
        await p.answer(f"debug: key is {SECRET}".encode())
        await p.answer({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        assert (await p.heard())["method"] == "notifications/message"
        assert [r.reason for r in p.recorded.refusals] == [Reason.AnswerUnparsable]


async def test_what_must_not_pass_leaves_nobody_waiting() -> None:
    async with piped(
        redaction=KEYS | {"action": "Block", "patterns": [{"name": "k", "regex": "sk-.*"}]}
    ) as p:
        await p.say({"jsonrpc": "2.0", "id": 3, "method": "resources/read", "params": {"uri": "x"}})
        await p.got()
        await p.answer({"jsonrpc": "2.0", "id": 3, "result": {"contents": [{"text": SECRET}]}})
        answer = await p.heard()
        assert (answer["id"], answer["error"]["data"]) == (3, {"reason": "AnswerBlocked"})
        question = {
            "jsonrpc": "2.0",
            "id": "q",
            "method": "elicitation/create",
            "params": {"message": SECRET},
        }
        await p.answer(question)
        assert (await p.got())["id"] == "q"


@pytest.mark.parametrize(
    ("line", "identifier", "code"),
    [
        (b"no json", None, -32700),
        (b'[{"jsonrpc":"2.0","id":1,"method":"tools/call"}]', None, -32600),
        (b'{"jsonrpc":"2.0","id":4,"method":"tools/call","params":[]}', 4, -32600),
        (b'{"jsonrpc":"2.0","id":5,"method":["tools/call"]}', 5, -32600),
    ],
)
async def test_what_could_be_any_call_is_refused(line: bytes, identifier: object, code: int) -> None:
    async with piped() as p:
        await p.say(line)
        answer = await p.heard()
        assert (answer["id"], answer["error"]["code"]) == (identifier, code)


async def test_the_last_of_two_methods_counts_for_the_server_too() -> None:
    async with piped() as p:
        await p.say(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping"}')
        assert (await p.got_raw()).count(b"method") == 1


async def test_messages_over_the_limit() -> None:
    async with piped(Limits(body_bytes=1000)) as p:
        await p.shim.from_agent(TooLong(b"{", b"}", 2000))
        assert (await p.heard())["error"]["data"] == {"reason": "BodyTooLarge"}
        await p.say(call(1))
        asked = await p.got()
        tail = json.dumps({"result": {}, "jsonrpc": "2.0", "id": asked["id"]}).encode()
        await p.shim.from_server(TooLong(b'{"result":', tail, 2000))
        answer = await p.heard()
        assert answer["result"]["_meta"]["toolpolicy.dev/reason"] == "AnswerTooLarge"


async def test_a_server_that_the_policies_have_no_more_gets_nothing() -> None:
    async with piped() as p:
        p.install(servers=[{"name": "other", "protocol": "MCP", "stdio": {}}], tools=[])
        await p.say(call(1))
        assert (await p.heard())["error"]["data"] == {"reason": "UnknownServer"}


@pytest.mark.parametrize("mode", ["Shadow", "Off"])
async def test_modes_that_touch_nothing(mode: str) -> None:
    async with piped(mode=mode, defaults=SOON | {"enabled": False}, redaction=KEYS) as p:
        await p.say(call(1, arguments={"q": SECRET}))
        asked = await p.got()
        assert asked["params"]["arguments"] == {"q": SECRET}
        await asyncio.sleep(0.15)
        await p.result(asked, SECRET)
        assert (await p.heard())["result"]["content"][0]["text"] == SECRET
        await until(lambda: len(p.recorded.calls) == 1)
        shadow = {str(word) for word in p.recorded.calls[0].shadow}
        assert ("ToolDisabled" in shadow) == (mode == "Shadow")


async def test_a_fallback_satisfies_the_schema_that_was_listed() -> None:
    schema = {"type": "object", "properties": {"found": {"type": "string"}}, "required": ["found"]}
    async with piped(defaults=SOON | {"fallback": {"static": '{"found":"nothing"}'}}) as p:
        await p.say({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        await p.got()
        tool = {"name": "search", "inputSchema": {"type": "object"}, "outputSchema": schema}
        await p.answer({"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool]}})
        await p.heard()
        await p.say(call(2))
        result = (await p.heard())["result"]
        assert result["structuredContent"] == {"found": "nothing"}
