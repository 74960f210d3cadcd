"""Nothing of a secret that a call says of itself is exported: not in spans, not in records."""

from pathlib import Path

import pytest

from tests.unit.datapath.loopback import MCP_HEADERS, tools_call
from tests.unit.telemetry.observed import AGENT_SPAN, TRACE, observed

CANARY = "sk-canaryQ7W2e9RtY4uZ3pLk8vB1"
SAYS = [
    ("traceparent", f"00-{TRACE}-{AGENT_SPAN}-01"),
    ("tracestate", "vendor=" + CANARY.replace("Q7W2e9", "q7w2e9").lower()),
    ("baggage", f"user.id={CANARY},gen_ai.agent.name={CANARY},session.id={CANARY}"),
    ("MCP-Protocol-Version", CANARY),
]


async def test_what_the_caller_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = [
        {"name": "search", "server": "kb"},
        {"name": "ticket", "server": "desk", "match": {"path": "/t"}},
    ]
    async with observed(tmp_path, monkeypatch, {"tools": tools}, servers={"kb": "MCP", "desk": "HTTP"}) as o:
        agent = await o.agent()
        body = tools_call(identifier=CANARY, q=CANARY)
        assert (await agent.request("POST", "/kb", body, [*MCP_HEADERS, *SAYS])).status == 200
        await agent.request(CANARY.upper(), "/desk/t", headers=SAYS)
        got = await o.exported()
        assert got.servers()
        for sent in got.bodies:
            assert b"canary" not in sent.lower()
        assert got.servers()[0].attributes["user.id"] == "[redacted]"
