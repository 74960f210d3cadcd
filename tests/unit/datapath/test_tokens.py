"""Tokens on the wire: a model sees them, a trusted tool gets what they stand for, and nothing else tells it."""

import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.unit.datapath.loopback import Agent, Answer, Exchange, World, rules
from tests.unit.datapath.loopback import world as started_world
from toolpolicy_api import snapshot

SECRET = "jane.doe@example.com"
REDACTION = snapshot.Redaction(
    detectors=("Email",),
    action="Tokenize",
    tokens=snapshot.Tokens(trusted=("mail", "ticket"), session_header="X-Session"),
)


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with started_world() as world:
        yield world


def install(w: World) -> None:
    mail = snapshot.Tool("mail", "kb", snapshot.McpMatch("mail"), rules())
    w.install(redaction=REDACTION, more=(mail,))


async def call(agent: Agent, tool: str, session: str, **arguments: str) -> Answer:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments},
    }
    headers = [
        ("Content-Type", "application/json"),
        ("X-Session", session),
        *((f"Mcp-Param-{name}", value) for name, value in arguments.items()),
    ]
    await agent.send("POST", "/kb", json.dumps(body).encode(), headers)
    return await agent.answer()


def told(answer: Answer) -> str:
    text = answer.json["result"]["content"][0]["text"]
    assert isinstance(text, str)
    return text


async def test_a_token_goes_from_one_tool_to_a_trusted_one(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        if exchange.seen.target.startswith("/mcp"):
            await exchange.result(f"write to {SECRET}")
        else:
            await exchange.answer(200, b"{}")

    w.tool.script = says
    install(w)
    agent = await w.agent()
    token = told(await call(agent, "search", "one")).removeprefix("write to ")
    assert token.startswith("[redacted:Email:")

    await call(agent, "mail", "one", to=token)
    seen = w.tool.seen[-1]
    assert seen.json["params"]["arguments"] == {"to": SECRET}
    assert seen.header("Mcp-Param-to") == SECRET

    await call(agent, "search", "one", to=token)  # not trusted
    assert w.tool.seen[-1].json["params"]["arguments"] == {"to": token}

    await call(agent, "mail", "other", to=token)  # of another conversation
    assert w.tool.seen[-1].json["params"]["arguments"] == {"to": token}

    body = json.dumps({"note": f"for {token}"}).encode()
    headers = [("Content-Type", "application/json"), ("X-Session", "one")]
    await agent.send("POST", "/api/v1/tickets/1", body, headers)
    await agent.answer()
    assert w.tool.seen[-1].json == {"note": f"for {SECRET}"}
    assert not any(SECRET in str(record) for record in w.recorded.calls)


@pytest.mark.parametrize("tool", ["mail", "ticket"])
async def test_chosen_headers_get_their_values_back(w: World, tool: str) -> None:
    mail = snapshot.Tool("mail", "kb", snapshot.McpMatch("mail"), rules())
    w.install(redaction=msgspec.structs.replace(REDACTION, headers=("X-To",)), more=(mail,))

    async def says(exchange: Exchange) -> None:
        await exchange.result(SECRET)

    w.tool.script = says
    agent = await w.agent()
    token = told(await call(agent, "search", "one"))
    for name, value, sent in (("X-To", f"to {token}", f"to {SECRET}"), ("X-Cc", token, token)):
        headers = [("Content-Type", "application/json"), ("X-Session", "one"), (name, value)]
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
        target = "/kb" if tool == "mail" else "/api/v1/tickets/1"
        await agent.send("POST", target, json.dumps(body).encode(), headers)
        await agent.answer()
        assert w.tool.seen[-1].header(name) == sent


async def test_conversations_go_on_under_a_new_policy(w: World) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.result(SECRET)

    w.tool.script = says
    install(w)
    agent = await w.agent()
    token = told(await call(agent, "search", "one"))
    w.install(redaction=REDACTION, more=(snapshot.Tool("mail", "kb", snapshot.McpMatch("ma*"), rules()),))
    await call(agent, "mail", "one", to=token)
    assert w.tool.seen[-1].json["params"]["arguments"] == {"to": SECRET}
