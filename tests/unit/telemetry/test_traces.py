"""Spans as they leave: decoded from what a real receiver got."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.datapath.loopback import MCP_HEADERS, Exchange, fine, tools_call
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
            (call,) = [one for one in got.servers() if one.span_id == span.parent]
            assert call.began_ns <= span.began_ns <= span.ended_ns <= call.ended_ns + 1000


KB = {"kb": "MCP", "desk": "HTTP"}
BOTH: list[dict[str, Any]] = [
    {"name": "search", "server": "kb"},
    {"name": "ticket", "server": "desk", "match": {"path": "/t"}},
]
TOOLS = {"tools": BOTH}
RETRIES: dict[str, Any] = {
    "maxAttempts": 3,
    "idempotent": True,
    "backoff": {"base": "2ms", "max": "4ms"},
    "on": ["ServerError"],
}


def spec(**fields: Any) -> dict[str, Any]:
    """Both tools with these fields."""
    return {"tools": [tool | fields for tool in BOTH]}


async def failing(exchange: Exchange) -> None:
    await exchange.answer(500, b"no")


async def test_a_message_carries_its_context_and_takes_ours_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message's own parent counts, the HTTP request's is linked; of the body nothing else changes."""
    other = "b7ad6b7169203331"
    body = tools_call("search", q="x").replace(
        b'"arguments"',
        b'"_meta": {"traceparent": "00-%b-%b-01", "tracestate":"v=1"}, "arguments"'
        % (TRACE.encode(), other.encode()),
    )
    async with observed(tmp_path, monkeypatch, TOOLS, servers=KB) as o:
        agent = await o.agent()
        await agent.request("POST", "/kb", body, [*MCP_HEADERS, PARENT, ("tracestate", "of=http")])
        got = await o.exported()
        (server,), (client,) = got.servers(), got.clients()
        assert (server.parent, server.links, server.state) == (other, [AGENT_SPAN], "v=1")
        (seen,) = o.tools["kb"].seen
        ours = f"00-{TRACE}-{client.span_id}-01"
        assert seen.header("traceparent") == ours
        assert [value for name, value in seen.headers if name.lower() == "tracestate"] == ["v=1"]
        assert seen.body == body.replace(f"00-{TRACE}-{other}-01".encode(), ours.encode())


async def test_a_call_without_a_context_begins_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--trace-id-header", "X-Trace-Id")
    async with observed(tmp_path, monkeypatch, TOOLS, servers=KB, flags=flags) as o:
        agent = await o.agent()
        await agent.request("GET", "/desk/t")
        await agent.request(
            "GET", "/desk/t", headers=[("X-Trace-Id", "4BF92F35-77b3-4da6-a3ce-929d0e0e4736")]
        )
        await agent.request("GET", "/desk/t", headers=[("X-Trace-Id", "a'b"), ("traceparent", "00-nonsense")])
        got = await o.exported()
        first, second, third = got.servers()
        assert second.trace_id == TRACE
        assert len({first.trace_id, second.trace_id, third.trace_id}) == 3
        assert [span.parent for span in got.servers()] == ["", "", ""]
        assert [line["trace_id"] for line in o.lines] == [span.trace_id for span in got.servers()]


async def test_what_fails_is_kept_whatever_the_sampling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    scripts = {"desk": failing}
    async with observed(
        tmp_path, monkeypatch, TOOLS, servers=KB, environment=environment, scripts=scripts
    ) as o:
        agent = await o.agent()
        for _ in range(3):
            await agent.request("POST", "/kb", tools_call(), MCP_HEADERS)
        await agent.request("GET", "/desk/t")
        await agent.request("POST", "/kb", tools_call(), [*MCP_HEADERS, PARENT])
        got = await o.exported()
        kept, asked_for = got.servers()
        assert (kept.name, kept.failed, kept.attributes["toolpolicy.kept"]) == (
            "execute_tool ticket",
            True,
            "failed",
        )
        assert kept.attributes["error.type"] == "ServerError"
        assert asked_for.trace_id == TRACE
        assert "toolpolicy.kept" not in asked_for.attributes
        assert str(o.tools["desk"].seen[0].header("traceparent")).endswith("-00")


async def test_attempts_waits_and_circuits_are_in_the_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"retry": RETRIES, "circuitBreaker": {"consecutiveFailures": 3, "openFor": "60s"}}
    async with observed(tmp_path, monkeypatch, spec(**more), servers=KB, scripts={"desk": failing}) as o:
        agent = await o.agent()
        await agent.request("GET", "/desk/t")
        await agent.request("GET", "/desk/t")
        got = await o.exported()
        tried, refused = got.servers()
        attempts = [span for span in got.clients() if span.parent == tried.span_id]
        assert [span.attributes["http.response.status_code"] for span in attempts] == [500, 500, 500]
        assert [span.attributes.get("http.request.resend_count") for span in attempts] == [None, 1, 2]
        assert [span.name for span in attempts] == ["GET"] * 3
        assert all(span.failed for span in attempts)
        told = [str(seen.header("traceparent")).split("-")[2] for seen in o.tools["desk"].seen]
        assert told == [span.span_id for span in attempts]
        waits = [fields for name, fields in tried.events if name == "toolpolicy.backoff"]
        assert [wait["toolpolicy.reason"] for wait in waits] == ["ServerError", "ServerError"]
        circuit = tried.event("toolpolicy.circuit")
        assert (circuit["toolpolicy.before"], circuit["toolpolicy.after"]) == ("Closed", "Open")
        assert refused.attributes["error.type"] == "CircuitOpen"
        assert refused.events == []
        assert not [span for span in got.clients() if span.parent == refused.span_id]


async def test_redactions_and_fallbacks_are_events_without_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy: dict[str, Any] = spec(fallback={"message": "later"}) | {"redaction": {"detectors": ["Email"]}}
    async with observed(tmp_path, monkeypatch, policy, servers=KB, scripts={"desk": failing}) as o:
        agent = await o.agent()
        await agent.call(q="write to ann.smith@mailbox.org and to bob.jones@mailbox.org")
        await agent.request("GET", "/desk/t")
        got = await o.exported()
        redacted, fallen = got.servers()
        found = redacted.event("toolpolicy.redaction")
        assert found["toolpolicy.direction"] == "request"
        assert found["toolpolicy.redacted.Email"] == 2
        assert fallen.event("toolpolicy.fallback") == {
            "toolpolicy.fallback": "Message",
            "toolpolicy.result": "Answered",
        }


async def test_a_call_made_as_a_fallback_is_inside_the_call_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = [
        {
            "name": "ticket",
            "server": "desk",
            "match": {"path": "/t"},
            "fallback": {"tool": {"name": "archive"}},
        },
        {"name": "archive", "server": "archive", "match": {"path": "/a"}},
    ]
    servers, scripts = {"desk": "HTTP", "archive": "HTTP"}, {"desk": failing}
    environment = {"OTEL_TRACES_SAMPLER": "always_off"}
    async with observed(
        tmp_path, monkeypatch, {"tools": tools}, servers=servers, scripts=scripts, environment=environment
    ) as o:
        agent = await o.agent()
        assert (await agent.request("GET", "/desk/t", headers=[PARENT])).status == 200
        got = await o.exported()
        spans = {span.attributes["gen_ai.tool.name"]: span for span in got.servers()}
        assert spans["ticket"].parent == AGENT_SPAN
        assert spans["archive"].parent == spans["ticket"].span_id
        assert spans["archive"].attributes["toolpolicy.stands_for"] == "ticket"
        assert {span.trace_id for span in got.spans} == {TRACE}


async def test_a_hedge_is_an_attempt_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more: dict[str, Any] = {"retry": RETRIES | {"hedge": {"notBefore": "10ms"}}}

    async def first_hangs(exchange: Exchange) -> None:
        await (exchange.closed() if len(o.tools["desk"].seen) == 1 else fine(exchange))

    async with observed(tmp_path, monkeypatch, spec(**more), servers=KB, scripts={"desk": first_hangs}) as o:
        assert o.sidecar.current.runtime
        hedge = o.sidecar.current.runtime.circuit("ticket").hedge
        assert hedge
        for _ in range(100):  # it is known how long the tool takes
            hedge.observe(0.01)
        agent = await o.agent()
        await agent.request("GET", "/desk/t")
        got = await o.exported()
        (last,) = got.servers()
        first, second = got.clients()
        assert last.event("toolpolicy.hedge") == {"toolpolicy.result": "Won"}
        assert (first.attributes["toolpolicy.dropped"], second.attributes["toolpolicy.hedge"]) == (True, True)
        assert second.attributes["http.response.status_code"] == 200
        told = {str(seen.header("traceparent")).split("-")[2] for seen in o.tools["desk"].seen}
        assert told == {first.span_id, second.span_id}
        named = [[name.lower() for name, _ in seen.headers] for seen in o.tools["desk"].seen]
        assert [names.count("traceparent") for names in named] == [1, 1]


async def test_a_policy_that_is_off_changes_no_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observed(tmp_path, monkeypatch, {"tools": BOTH, "mode": "Off"}, servers=KB) as o:
        agent = await o.agent()
        await agent.request("GET", "/desk/t", headers=[PARENT])
        got = await o.exported()
        assert o.tools["desk"].seen[0].header("traceparent") == PARENT[1]
        assert [span.attributes.get("http.response.status_code") for span in got.spans] == [200, 200]


async def test_logs_leave_by_choice_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_BLRP_SCHEDULE_DELAY": "20",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=support-1",
    }
    flags = ("--agent", "support-agent", "--service-account", "support")
    async with observed(tmp_path, monkeypatch, TOOLS, servers=KB, environment=environment, flags=flags) as o:
        agent = await o.agent()
        await agent.call(q="x")
        await agent.request("GET", "/desk/elsewhere")
        got = await o.exported()
        envelope = {"time", "level", "event"}
        assert got.logs == [{key: line[key] for key in line if key not in envelope} for line in o.lines]
        assert {line["agent"] for line in o.lines} == {"support-agent"}
        assert {line["service_account"] for line in o.lines} == {"support"}
        assert all(resource["k8s.pod.name"] == "support-1" for resource in got.resources)


@pytest.mark.parametrize(
    ("apply", "shown"),
    [("Both", {"arguments", "result"}), ("Request", {"arguments"}), ("Response", {"result"})],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_content_is_shown_by_choice_and_only_redacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apply: str, shown: set[str], *, streamed: bool
) -> None:
    async def tells(exchange: Exchange) -> None:
        message = exchange.message("bob.jones@mailbox.org says hello")
        if streamed:
            await exchange.events(b"data: " + message + b"\n\n")
            await exchange.end()
        else:
            await exchange.answer(200, message)

    policy = {"tools": BOTH, "redaction": {"detectors": ["Email"], "apply": apply}}
    flags, scripts = ("--trace-redacted-content", "true"), {"kb": tells}
    async with observed(tmp_path, monkeypatch, policy, servers=KB, flags=flags, scripts=scripts) as o:
        agent = await o.agent()
        await agent.call(to="ann.smith@mailbox.org", text="hello")
        await agent.call(to="ann.smith@mailbox.org", text="x" * 5000)
        got = await o.exported()
        small, large = (span.attributes for span in got.servers())
        assert {name for name in ("arguments", "result") if f"gen_ai.tool.call.{name}" in small} == shown
        assert "gen_ai.tool.call.arguments" not in large
        assert all("hello" in str(small[f"gen_ai.tool.call.{name}"]) for name in shown)
        assert not any(b"mailbox" in body for body in got.bodies)
