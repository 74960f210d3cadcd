"""Spans as they leave: decoded from what a real receiver got."""

from pathlib import Path

import pytest

from tests.unit.datapath.loopback import MCP_HEADERS, tools_call
from tests.unit.telemetry.observed import AGENT_SPAN, TRACE, observed

PARENT = ("traceparent", f"00-{TRACE}-{AGENT_SPAN}-01")


async def test_a_session_of_four_tools_on_three_servers_is_one_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {
        "tools": [
            {"name": "search", "server": "kb"},
            {"name": "read", "server": "kb"},
            {"name": "book", "server": "calendar"},
            {"name": "ticket", "server": "desk", "match": {"path": "/v1/tickets/{id}"}},
        ]
    }
    servers = {"kb": "MCP", "calendar": "MCP", "desk": "HTTP"}
    async with observed(tmp_path, monkeypatch, spec, servers=servers) as o:
        agent = await o.agent()
        for server, tool in (("kb", "search"), ("kb", "read"), ("calendar", "book")):
            answer = await agent.request("POST", f"/{server}", tools_call(tool), [*MCP_HEADERS, PARENT])
            assert answer.status == 200
        assert (await agent.request("GET", "/desk/v1/tickets/1", headers=[PARENT])).status == 200
        got = await o.exported()
        assert {span.trace_id for span in got.spans} == {TRACE}
        assert [span.name for span in got.servers()] == [
            "tools/call search",
            "tools/call read",
            "tools/call book",
            "execute_tool ticket",
        ]
        assert {span.parent for span in got.servers()} == {AGENT_SPAN}
        attempts = {span.span_id: span for span in got.clients()}
        assert sorted(span.parent for span in attempts.values()) == sorted(
            span.span_id for span in got.servers()
        )
        seen = [request for tool in o.tools.values() for request in tool.seen]
        told = [str(request.header("traceparent")).split("-") for request in seen]
        assert {(trace, flag) for _, trace, _, flag in told} == {(TRACE, "01")}
        assert sorted(span for _, _, span, _ in told) == sorted(attempts)
        for span in attempts.values():
            (server,) = [one for one in got.servers() if one.span_id == span.parent]
            assert server.began_ns <= span.began_ns <= span.ended_ns <= server.ended_ns + 1000
