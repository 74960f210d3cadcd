"""Who calls, as far as the call says."""

import json

import pytest

from tests.unit.datapath.loopback import World, world
from toolpolicy_sidecar.caller import CallerHeaders, hashed, parsed

BAGGAGE = ("Baggage", "session.id=s%201;secret=1, user.id=ann ,gen_ai.agent.name=helper,,broken")
SESSION = ("Mcp-Session-Id", "from-mcp")


def test_baggage_is_read_as_w3c_has_it() -> None:
    assert parsed(BAGGAGE[1]) == {"session.id": "s 1", "user.id": "ann", "gen_ai.agent.name": "helper"}


@pytest.mark.parametrize(
    ("headers", "session"),
    [
        ([("X-Session", "mine"), BAGGAGE, SESSION], "mine"),
        ([BAGGAGE, SESSION], "s 1"),
        ([SESSION], "from-mcp"),
        ([], None),
    ],
)
async def test_a_named_header_counts_first(headers: list[tuple[str, str]], session: str | None) -> None:
    async with world() as w:
        w.pipeline._callers = CallerHeaders(session=b"x-session", user=b"x-user")
        agent = await w.agent()
        await agent.call(headers=[*headers, ("X-User", "bob\t" + "b" * 200)])
        record = await w.recorded_call()
        assert record.session == (None if session is None else hashed(session))
        assert record.user == "bob" + "b" * 125
        assert record.agent == ("helper" if BAGGAGE in headers else None)


async def test_a_message_may_carry_baggage(w: World) -> None:
    params = {"name": "search", "arguments": {}, "_meta": {"baggage": "user.id=eve", "traceparent": 5}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    agent = await w.agent()
    await agent.request("POST", "/kb", body, [("Content-Type", "application/json"), BAGGAGE])
    record = await w.recorded_call()
    assert (record.user, record.agent, record.trace_id) == ("eve", None, None)
