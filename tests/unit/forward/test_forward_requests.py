"""Requests in absolute form through the forward proxy: the policy's servers by their own addresses, and the rest."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import MCP_HEADERS, Exchange, breaker, redaction, rules, tools_call, until
from tests.unit.forward.proxied import Proxied, proxied
from tests.unit.upstream.name_server import NameServer, name_server
from toolpolicy_sidecar.destination import canonical_host
from toolpolicy_sidecar.egress import is_metadata
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.upstream.origin import Origin

# To the policy's servers


async def test_a_call_by_the_servers_own_address_is_a_call_of_the_tool(p: Proxied) -> None:
    agent = await p.agent()
    answer = await agent.request("GET", f"{p.api}/v1/tickets/7?q=1")
    assert answer.json == {"ok": True}
    assert p.w.tool.seen[0].target == "/base/v1/tickets/7?q=1"
    record = await p.w.recorded_call()
    assert (record.server, record.tool, record.outcome) == ("api", "ticket", "success")


async def test_an_mcp_call_is_decided_by_its_body(p: Proxied) -> None:
    p.w.install(tool_rules=rules(enabled=False))
    agent = await p.agent()
    answer = await agent.request("POST", p.kb, tools_call(), MCP_HEADERS)
    assert answer.meta["toolpolicy.dev/reason"] == "ToolDisabled"
    assert p.w.tool.seen == []


async def test_both_listeners_share_a_circuit(p: Proxied) -> None:
    p.w.install(tool_rules=rules(breaker=breaker(1)))

    async def broken(exchange: Exchange) -> None:
        await exchange.answer(500, b"")

    p.w.tool.script = broken
    agent = await p.agent()
    await agent.request("GET", f"{p.api}/v1/tickets/7")
    reverse = await p.w.agent()
    assert (await reverse.request("GET", "/api/v1/tickets/7")).json["reason"] == "CircuitOpen"


async def test_answers_are_redacted(p: Proxied) -> None:
    p.w.install(redaction=redaction())

    async def leaks(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"key":"sk-abcdefgh1"}')

    p.w.tool.script = leaks
    agent = await p.agent()
    assert (await agent.request("GET", f"{p.api}/v1/tickets/7")).json == {"key": "[key]"}


@pytest.mark.parametrize(
    ("path", "tool"), [("/base", "*"), ("/base/", "*"), ("/base/v1/tickets/1", "ticket"), ("/base?a=b", "*")]
)
async def test_paths_below_the_url_belong_to_the_server(p: Proxied, path: str, tool: str) -> None:
    agent = await p.agent()
    await agent.request("GET", f"http://127.0.0.1:{p.w.tool.port}{path}")
    assert p.w.tool.seen[0].target == path
    assert (await p.w.recorded_call()).tool == tool


@pytest.mark.parametrize(
    "path", ["/basement/v1", "/bas", "/", "", "/.well-known/oauth-protected-resource/mcp"]
)
async def test_other_paths_of_its_host_pass_untouched(p: Proxied, path: str) -> None:
    agent = await p.agent()
    await agent.request("GET", f"http://127.0.0.1:{p.w.tool.port}{path}")
    assert p.w.tool.seen[0].target == path or "/"
    await until(lambda: p.w.recorded.passed)
    assert p.w.recorded.calls == []


@pytest.mark.parametrize(
    "path", ["/x/../base", "/base/../x", "/%2e%2e/base", "/base%2fx", "//base", "/base;x", "/base/%00"]
)
async def test_a_path_that_can_be_read_in_two_ways_is_refused_where_a_policy_is(
    p: Proxied, path: str
) -> None:
    agent = await p.agent()
    answer = await agent.request("GET", f"http://127.0.0.1:{p.w.tool.port}{path}")
    assert (answer.status, answer.json["reason"]) == (400, "MalformedRequest")
    assert p.w.tool.seen == []


async def test_redirects_stay_as_the_server_writes_them(p: Proxied) -> None:
    async def moved(exchange: Exchange) -> None:
        await exchange.answer(302, b"", Location="/base/v1/tickets/8")

    p.w.tool.script = moved
    agent = await p.agent()
    answer = await agent.request("GET", f"{p.api}/v1/tickets/7")
    assert answer.header("Location") == "/base/v1/tickets/8"


@pytest.mark.parametrize("named", [True, False])
async def test_what_is_for_the_proxy_alone_goes_no_further(p: Proxied, *, named: bool) -> None:
    agent = await p.agent()
    url = f"{p.api}/v1/tickets/7" if named else f"{p.elsewhere}/x"
    headers = [
        ("Host", "elsewhere.example"),
        ("Proxy-Authorization", "Basic c2VjcmV0"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Odd", "1"),
        ("Connection", "X-Hop"),
        ("X-Hop", "1"),
        ("Authorization", "Bearer kept"),
    ]
    await agent.request("GET", url, headers=headers)
    tool = p.w.tool if named else p.other
    assert [
        (name, value) for name, value in tool.seen[0].headers if name not in {"Host", "X-Request-Timeout-Ms"}
    ] == [("Authorization", "Bearer kept")]
    assert tool.seen[0].header("Host") == f"127.0.0.1:{tool.port}"


# To the rest


async def test_other_hosts_pass_untouched(p: Proxied) -> None:
    agent = await p.agent()
    body = b"x" * 300_000
    target = "/a//b;c/%2e%2e/%2f?q=%zz"
    answer = await agent.request("POST", p.elsewhere + target, body, [("X-Own", "1")])
    assert answer.json == {"ok": True}
    seen = p.other.seen[0]
    assert (seen.method, seen.target, seen.body, seen.header("X-Own")) == ("POST", target, body, "1")
    await until(lambda: p.w.recorded.passed)
    record = p.w.recorded.passed[0]
    assert (record.via, record.destination) == ("Request", f"127.0.0.1:{p.other.port}")
    assert (record.status, record.sent_bytes, record.received_bytes) == (200, 300_000, 11)


async def test_the_limits_of_tools_are_not_for_other_hosts() -> None:
    async with proxied(Limits(body_bytes=1000, request_s=0.05)) as p:
        agent = await p.agent()
        head = f"POST {p.elsewhere}/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"
        await agent.raw(head.encode() + b"x" * 2000)
        await until(lambda: p.other.connections)
        await asyncio.sleep(0.1)
        await agent.raw(b"x" * 3000)
        assert (await agent.answer()).status == 200
        assert len(p.other.seen[0].body) == 5000


async def test_answers_stream(p: Proxied) -> None:
    first = asyncio.Event()

    async def slowly(exchange: Exchange) -> None:
        await exchange.events(b"data: 1\n\n")
        await first.wait()
        await exchange.chunks(b"data: 2\n\n")
        await exchange.end()

    p.other.script = slowly
    agent = await p.agent()
    await agent.send("GET", f"{p.elsewhere}/events")
    await agent.head()
    assert await agent.reader.readuntil(b"1\n\n")
    first.set()
    assert await agent.reader.readuntil(b"0\r\n\r\n")


async def test_an_answer_that_breaks_off_does_not_look_whole(p: Proxied) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.events(b"data: 1\n\n")
        exchange.reset()

    p.other.script = half
    agent = await p.agent()
    await agent.send("GET", f"{p.elsewhere}/events")
    await agent.head()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await agent.reader.readuntil(b"0\r\n\r\n")


async def test_an_agent_that_hangs_up_ends_the_request(p: Proxied) -> None:
    gone = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.closed()
        gone.set()

    p.other.script = waits
    agent = await p.agent()
    await agent.send("GET", f"{p.elsewhere}/wait")
    await until(lambda: p.other.seen)
    agent.close()
    async with asyncio.timeout(20):
        await gone.wait()


async def test_a_host_that_is_not_there(p: Proxied) -> None:
    await p.other.stop()
    agent = await p.agent()
    answer = await agent.request("GET", f"{p.elsewhere}/x")
    assert (answer.status, answer.json["reason"]) == (502, "ConnectRefused")
    assert (await agent.request("GET", f"{p.api}/v1/tickets/7")).status == 200


# Where a policy denies the rest


async def test_deny_refuses_what_no_server_covers(p: Proxied) -> None:
    p.w.install(egress_default="Deny")
    agent = await p.agent()
    for url in (f"{p.elsewhere}/x", f"http://127.0.0.1:{p.w.tool.port}/admin"):
        answer = await agent.request("GET", url)
        assert (answer.status, answer.json["reason"]) == (403, "EgressDenied")
        assert "policy support/agent" in answer.json["detail"]
    assert p.other.connections == 0
    assert p.w.tool.seen == []
    assert [refusal.destination for refusal in p.w.recorded.refusals] == [
        f"127.0.0.1:{p.other.port}",
        f"127.0.0.1:{p.w.tool.port}",
    ]
    assert (await agent.request("GET", f"{p.api}/v1/tickets/7")).status == 200


async def test_deny_leaves_the_way_to_a_servers_oauth_server_open(p: Proxied) -> None:
    p.w.install(egress_default="Deny")
    agent = await p.agent()
    url = f"http://127.0.0.1:{p.w.tool.port}/.well-known/oauth-protected-resource/mcp"
    assert (await agent.request("GET", url)).status == 200
    assert (await agent.request("POST", url, b"")).status == 403
    assert (await agent.request("GET", f"{p.elsewhere}/.well-known/x")).status == 403


async def test_a_policy_that_is_off_denies_nothing(p: Proxied) -> None:
    p.w.install(egress_default="Deny", mode="Off")
    agent = await p.agent()
    assert (await agent.request("GET", f"{p.elsewhere}/x")).status == 200


# Addresses


async def test_metadata_addresses_are_refused(p: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await p.agent()
    dialled = []

    async def create_connection(_factory: object, host: str, *_more: object, **_options: object) -> None:
        dialled.append(host)
        raise OSError("no test leaves this machine")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
    for host in ("169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"):
        answer = await agent.request("GET", f"http://{host}/latest/meta-data")
        assert (answer.status, answer.json["reason"]) == (403, "EgressDenied"), host
    assert dialled == []


async def test_unless_a_policy_names_the_host(p: Proxied) -> None:
    def refusal(host: str) -> str | None:
        assert p.w.current.runtime
        return p.w.current.runtime.egress.address_refusal(Origin("http", host, 80), "169.254.169.254")

    assert refusal("169.254.169.254")
    assert refusal("metadata.example")
    p.w.install(host="169.254.169.254", port=80)
    assert refusal("169.254.169.254") is None
    assert refusal("metadata.example")
    p.w.install(host="Metadata.example", port=80)
    assert refusal("metadata.example.") is None


@pytest.fixture
async def named() -> AsyncIterator[tuple[Proxied, NameServer]]:
    """With a DNS of its own."""
    async with name_server() as (dns, names), proxied(names=names) as p:
        yield p, dns


async def test_the_checked_address_is_the_dialled_one(named: tuple[Proxied, NameServer]) -> None:
    """A name that leads somewhere else when it is asked for again."""
    p, dns = named
    dns.zone["rebinding.example"] = (0, ["127.0.0.1"])
    dns.then["rebinding.example"] = (0, ["169.254.169.254"])
    agent = await p.agent()
    assert (await agent.request("GET", f"http://rebinding.example:{p.other.port}/x")).status == 200
    assert p.other.seen[0].header("Host") == f"rebinding.example:{p.other.port}"
    assert dns.names() == ["rebinding.example"]


@pytest.mark.parametrize(
    "addresses",
    [
        ["169.254.169.254"],
        ["127.0.0.1", "169.254.169.254"],
        ["::ffff:169.254.169.254"],
        ["127.0.0.1", "fe80::1"],
    ],
)
async def test_a_name_that_leads_to_a_metadata_address_is_refused(
    named: tuple[Proxied, NameServer], addresses: list[str]
) -> None:
    p, dns = named
    dns.zone["innocent.example"] = (60, addresses)
    agent = await p.agent()
    answer = await agent.request("GET", f"http://innocent.example:{p.other.port}/x")
    assert (answer.status, answer.json["reason"]) == (403, "EgressDenied")
    assert p.other.connections == 0
    await agent.raw(b"CONNECT innocent.example:443 HTTP/1.1\r\nHost: innocent.example:443\r\n\r\n")
    assert (await agent.answer()).status == 403


async def test_the_next_address_is_tried(named: tuple[Proxied, NameServer]) -> None:
    p, dns = named
    dns.zone["two.example"] = (60, ["127.0.0.2", "127.0.0.1"])  # the server listens at the second one only
    agent = await p.agent()
    assert (await agent.request("GET", f"http://two.example:{p.other.port}/x")).status == 200


async def test_a_way_back_to_the_sidecar_is_refused(p: Proxied) -> None:
    agent = await p.agent()
    for port in (p.port, p.w.port):
        for host in ("127.0.0.1", "localhost", "0.0.0.0"):
            answer = await agent.request("GET", f"http://{host}:{port}/x")
            assert (answer.status, answer.json["reason"]) == (403, "EgressDenied")
            assert "NO_PROXY" in answer.json["detail"]


@pytest.mark.parametrize(
    "target",
    [
        "/kb",
        "kb.internal",
        "ftp://kb/x",
        "http://user@kb/x",
        "http://user:pass@kb/x",
        "http:///x",
        "http://kb:0/",
        "http://kb:70000/",
        "http://kb:8o/",
        "http://127.1/x",
        "http://0x7f000001/x",
        "http://2130706433/x",
        "http://0177.0.0.1/x",
        "http://127.0.0.1./x",
        "http://[::1/x",
        "http://[fe80::1%25eth0]/x",
        "http://a..b/x",
        "http://-a/x",
        "http://kb/x#y",
        "http://kb\\evil/x",
        "*",
    ],
)
async def test_what_names_no_destination_for_certain_is_refused(p: Proxied, target: str) -> None:
    agent = await p.agent()
    answer = await agent.request("GET", target)
    assert answer.status == 400
    assert answer.json["reason"] == "MalformedRequest"


async def test_without_a_policy_nothing_passes(p: Proxied) -> None:
    p.w.current.runtime = None
    agent = await p.agent()
    assert (await agent.request("GET", f"{p.elsewhere}/x")).json["reason"] == "NoPolicy"
    assert p.forward.unpoliced == 0


# At a cold start that lets pass


async def test_until_the_first_policy_comes_all_passes_unpoliced(p: Proxied) -> None:
    p.w.current.runtime, p.w.current.cold_start = None, "Passthrough"
    agent = await p.agent()
    for url in (f"{p.api}/v1/tickets/7", f"{p.elsewhere}/x"):
        assert (await agent.request("GET", url)).status == 200
    assert p.forward.unpoliced == 2
    await until(lambda: len(p.w.recorded.passed) == 2)
    assert p.w.recorded.calls == []
    assert [record.destination for record in p.w.recorded.passed] == [
        f"127.0.0.1:{p.w.tool.port}",
        f"127.0.0.1:{p.other.port}",
    ]
    p.w.install(tool_rules=rules(enabled=False))
    assert (await agent.request("GET", f"{p.api}/v1/tickets/7")).json["reason"] == "ToolDisabled"
    assert p.forward.unpoliced == 2


async def test_not_the_way_to_a_metadata_service_or_to_ourselves(p: Proxied) -> None:
    p.w.current.runtime, p.w.current.cold_start = None, "Passthrough"
    agent = await p.agent()
    for host in ("169.254.169.254", f"127.0.0.1:{p.w.port}"):
        assert (await agent.request("GET", f"http://{host}/x")).json["reason"] == "EgressDenied"


async def test_and_the_reverse_listener_has_nowhere_to_let_pass_to(p: Proxied) -> None:
    p.w.current.runtime, p.w.current.cold_start = None, "Passthrough"
    agent = await p.w.agent()
    assert (await agent.request("GET", "/api/v1/tickets/7")).json["reason"] == "NoPolicy"


async def test_the_first_policy_cuts_the_tunnels_to_hosts_that_it_names(p: Proxied) -> None:
    policy = p.w.policy()
    p.w.current.runtime, p.w.current.cold_start = None, "Passthrough"
    named, other = await p.agent(), await p.agent()
    await named.send("CONNECT", f"127.0.0.1:{p.w.tool.port}")
    await other.send("CONNECT", f"127.0.0.1:{p.other.port}")
    assert [(await agent.head()).status for agent in (named, other)] == [200, 200]
    p.w.install_policy(policy)
    await until(lambda: p.forward.tunnels.open == 1)
    assert (await other.request("GET", "/x")).status == 200


def test_one_form_of_a_host() -> None:
    assert canonical_host("KB.Internal") == "kb.internal"
    assert canonical_host("0:0:0:0:0:0:0:1") == "::1"
    assert canonical_host("kb_1.ns.svc") == "kb_1.ns.svc"
    assert [
        canonical_host(bad) for bad in ("1.2.3", "0x1", "1.2.3.4.", "01.2.3.4", "a b", "", ".", "bücher")
    ] == [None] * 8


@pytest.mark.parametrize(
    "address",
    [
        "169.254.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
    ],
)
def test_metadata_in_every_disguise(address: str) -> None:
    assert is_metadata(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "169.253.255.255", "64:ff9b::808:808"]
)
def test_other_addresses(address: str) -> None:
    assert not is_metadata(address)
