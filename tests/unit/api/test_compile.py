"""Written policies become compiled ones; pods get what selects them; the oldest claim wins."""

import copy
from typing import Any

import msgspec
import pytest

from tests.corpus.policies import GOOD, put
from toolpolicy_api import snapshot
from toolpolicy_api.check import check, parse
from toolpolicy_api.compile import compile_policy
from toolpolicy_api.resolve import Conflict, resolve, selects


def compiled(name: str = "agent", created: str = "2026-01-01T00:00:00Z", **changes: Any) -> snapshot.Policy:
    document = copy.deepcopy(GOOD)
    document["metadata"] |= {
        "name": name,
        "creationTimestamp": created,
        "uid": f"uid-{name}",
        "generation": 1,
    }
    for path, value in changes.items():
        put(path.replace("__", "."), value)(document["spec"])
    return compile_policy(parse(document))


def tool(policy: snapshot.Policy, name: str) -> snapshot.Tool:
    return next(tool for tool in policy.tools if tool.name == name)


def test_built_in_defaults() -> None:
    policy = compiled(defaults={})
    assert tool(policy, "search").rules == snapshot.Rules(
        timeouts=snapshot.Timeouts(total_ms=30_000, attempt_ms=30_000, connect_ms=2_000)
    )


def test_a_tool_overrides_the_defaults_field_by_field() -> None:
    policy = compiled(
        defaults={
            "timeout": {"total": "10s", "idle": "4s"},
            "circuitBreaker": {"consecutiveFailures": 3, "openFor": "1m"},
            "criticality": "Optional",
        },
        tools__0__timeout={"attempt": "2s"},
        tools__0__circuitBreaker={"openFor": "5s"},
    )
    rules = tool(policy, "search").rules
    assert rules.timeouts == snapshot.Timeouts(
        total_ms=10_000, attempt_ms=2_000, connect_ms=2_000, idle_ms=4_000
    )
    assert rules.breaker == snapshot.Breaker(open_for_ms=5_000, half_open_calls=1, consecutive_failures=3)
    assert rules.criticality == "Optional"
    assert policy.servers[0].unlisted.timeouts.idle_ms == 4_000


def test_connect_never_outlasts_a_short_total() -> None:
    policy = compiled(tools__0__timeout={"total": "500ms"})
    assert tool(policy, "search").rules.timeouts == snapshot.Timeouts(
        total_ms=500, attempt_ms=500, connect_ms=500
    )


def test_a_breaker_without_thresholds_gets_the_default_one() -> None:
    breaker = tool(compiled(tools__0__circuitBreaker={}), "search").rules.breaker
    assert breaker == snapshot.Breaker(open_for_ms=30_000, half_open_calls=1, consecutive_failures=5)


def test_a_rate_alone_adds_no_consecutive_threshold() -> None:
    breaker = tool(
        compiled(tools__0__circuitBreaker={"failureRate": {"percent": 50, "calls": 4}}), "search"
    ).rules.breaker
    assert breaker is not None
    assert breaker.consecutive_failures is None
    assert breaker.rates == snapshot.CallRates(failure_percent=50, minimum_calls=4, calls=4)


def test_slow_calls_share_the_window_of_the_failure_rate() -> None:
    policy = compiled(
        defaults={"circuitBreaker": {"slowCall": {"over": "5s", "percent": 80}}},
        tools__0__circuitBreaker={"failureRate": {"percent": 50, "window": "30s", "minimumCalls": 7}},
    )
    breaker, other = tool(policy, "search").rules.breaker, tool(policy, "create").rules.breaker
    assert breaker is not None
    assert other is not None
    slow = snapshot.SlowCall(over_ms=5_000, percent=80)
    assert breaker.rates == snapshot.CallRates(7, window_ms=30_000, failure_percent=50, slow_call=slow)
    assert breaker.consecutive_failures is None
    assert other.rates == snapshot.CallRates(10, calls=20, slow_call=slow)
    assert other.consecutive_failures == 5


def test_a_retry_gets_its_defaults() -> None:
    assert tool(compiled(tools__0__retry={}), "search").rules.retry == snapshot.Retry(
        max_attempts=3,
        backoff_base_ms=100,
        backoff_max_ms=2_000,
        on=("Connect", "Timeout", "ServerError", "Throttled"),
    )
    assert tool(compiled(), "search").rules.retry is None


def test_a_retry_overrides_the_defaults_field_by_field() -> None:
    policy = compiled(
        defaults={"retry": {"maxAttempts": 5, "backoff": {"base": "3s"}, "on": ["Connect"]}},
        tools__0__retry={"on": ["Timeout", "ServerError"], "idempotencyKeyHeader": "Idempotency-Key"},
    )
    assert tool(policy, "search").rules.retry == snapshot.Retry(
        max_attempts=5,
        backoff_base_ms=3_000,
        backoff_max_ms=3_000,
        on=("Timeout", "ServerError"),
        key_header="Idempotency-Key",
    )
    assert policy.servers[0].unlisted.retry is not None


def test_hedging_is_taken_from_the_defaults_too() -> None:
    policy = compiled(
        defaults={"retry": {"hedge": {"notBefore": "50ms"}, "idempotent": True}},
        tools__0__retry={"hedge": {}},
        tools__1__retry={"maxAttempts": 2},
    )
    assert [tool(policy, name).rules.retry.hedge for name in ("search", "create")] == [  # type: ignore[union-attr]
        snapshot.Hedge(),
        snapshot.Hedge(not_before_ms=50),
    ]


def test_concurrency_is_merged_field_by_field_too() -> None:
    policy = compiled(
        defaults={"concurrency": {"max": 8, "queue": 4, "queueTimeout": "500ms", "adaptive": {"min": 2}}},
        tools__0__concurrency={"max": 2, "queue": 0},
    )
    assert tool(policy, "search").rules.concurrency == snapshot.Concurrency(
        max=2, queue_timeout_ms=500, adaptive_min=2
    )
    everybody = snapshot.Concurrency(max=8, queue=4, queue_timeout_ms=500, adaptive_min=2)
    assert tool(policy, "create").rules.concurrency == everybody
    assert policy.servers[0].unlisted.concurrency == everybody


def test_concurrency_of_a_server_is_its_own() -> None:
    policy = compiled(defaults={"concurrency": {"max": 8}}, servers__0__concurrency={"max": 2, "queue": 1})
    assert policy.servers[0].concurrency == snapshot.Concurrency(max=2, queue=1)
    assert policy.servers[1].concurrency is None


LIVE = {"name": "live", "server": "tickets", "match": {"path": "/live"}}


@pytest.mark.parametrize(
    ("tool", "redaction"),
    [
        (LIVE, None),
        (LIVE, {}),
        (LIVE, {"detectors": ["Email"], "onUnscannable": "Pass"}),
        (LIVE, {"detectors": ["Email"], "exempt": ["live"]}),
        ({**LIVE, "redaction": {"onUnscannable": "Pass"}}, {"detectors": ["Email"]}),
    ],
)
def test_a_websocket_may_be_where_nothing_must_be_redacted(tool: dict[str, Any], redaction: Any) -> None:
    document = copy.deepcopy(GOOD)
    spec = document["spec"]
    spec["servers"][1]["upgrade"] = "Tunnel"
    spec["tools"].append(tool)
    spec["redaction"] = redaction
    assert [server.upgrade for server in compile_policy(parse(document)).servers] == ["Refuse", "Tunnel"]


def test_a_snapshot_survives_the_wire_byte_for_byte() -> None:
    value = resolve([compiled()], {"app": "agent"}).snapshot
    data = snapshot.encode(value)
    assert snapshot.decode_snapshot(data) == value
    assert snapshot.encode(snapshot.decode_snapshot(data)) == data


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"policies":{}}', b'{"nonsense":1}', b'{"policies":[{}]}']
)
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        snapshot.decode_snapshot(data)


def test_only_policies_that_select_the_pod() -> None:
    assert resolve([compiled()], {"app": "other"}).snapshot.policies == ()


def test_the_order_of_the_input_does_not_change_the_hash() -> None:
    policies = [
        compiled("a", servers=[{"name": "a", "protocol": "MCP", "url": "http://a/"}], tools=[]),
        compiled("b", servers=[{"name": "b", "protocol": "MCP", "url": "http://b/"}], tools=[]),
    ]
    one, two = (resolve(order, {"app": "agent"}).snapshot for order in (policies, policies[::-1]))
    assert snapshot.encode(one) == snapshot.encode(two)


def test_the_older_policy_keeps_the_server() -> None:
    old = compiled("zz", "2026-01-01T00:00:00Z")
    new = compiled("aa", "2026-01-02T00:00:00Z")
    resolution = resolve([new, old], {"app": "agent"})
    assert resolution.snapshot.policies == (old,)
    assert resolution.conflicts == (
        Conflict("default/aa", "Server", "kb", "default/zz"),
        Conflict("default/aa", "Server", "tickets", "default/zz"),
    )


def test_a_lost_tool_leaves_the_rest_of_the_policy() -> None:
    old = compiled("old", "2026-01-01T00:00:00Z")
    new = compiled(
        "new",
        "2026-01-02T00:00:00Z",
        servers=[{"name": "other", "protocol": "MCP", "url": "http://other/mcp"}],
        tools=[{"name": "search", "server": "other"}, {"name": "more", "server": "other"}],
    )
    resolution = resolve([old, new], {"app": "agent"})
    assert [tool.name for tool in resolution.snapshot.policies[1].tools] == ["more"]
    assert resolution.conflicts == (Conflict("default/new", "Tool", "search", "default/old"),)


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [
        ("In", ("a", "b"), {"k": "a"}, True),
        ("In", ("a",), {}, False),
        ("NotIn", ("a",), {"k": "a"}, False),
        ("NotIn", ("a",), {}, True),
        ("Exists", (), {"k": ""}, True),
        ("Exists", (), {}, False),
        ("DoesNotExist", (), {}, True),
        ("DoesNotExist", (), {"k": "a"}, False),
    ],
)
def test_selector_expressions(
    operator: Any, values: tuple[str, ...], labels: dict[str, str], expected: bool
) -> None:
    requirement = snapshot.Requirement(key="k", operator=operator, values=values)
    assert selects(snapshot.Selector(match_expressions=(requirement,)), labels) is expected


def test_a_fallback_is_taken_whole() -> None:
    policy = compiled(
        defaults={"fallback": {"message": "m"}},
        tools=[
            {"name": "a", "server": "kb", "fallback": {"static": "s"}},
            {"name": "b", "server": "kb", "fallback": {"cached": {"maxAge": "1m"}}},
            {"name": "c", "server": "kb", "fallback": {"tool": {"name": "b", "arguments": {"x": "y"}}}},
            {"name": "d", "server": "kb"},
        ],
    )
    assert [tool.rules.fallback for tool in policy.tools] == [
        snapshot.StaticFallback("s"),
        snapshot.CachedFallback(60_000),
        snapshot.ToolFallback("b", {"x": "y"}),
        snapshot.MessageFallback("m"),
    ]
    assert policy.servers[0].unlisted.fallback == snapshot.MessageFallback("m")
    again = snapshot.decode_bootstrap(snapshot.encode(snapshot.Bootstrap((policy,))))
    assert again.policies == (policy,)


TWO_SERVERS = [
    {"name": "kb", "protocol": "MCP", "url": "http://kb/mcp"},
    {"name": "kb2", "protocol": "MCP", "url": "http://kb2/mcp"},
]


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([("a", "kb", "b"), ("b", "kb", "c"), ("c", "kb", "a")], "it falls back on itself: a → b → c → a"),
        ([("a", "kb", "b"), ("b", "kb2", "")], "of another server, which does not know the agent's session"),
        ([("a", "kb", "x"), ("b", "kb", "")], "no tool 'x' in spec.tools; known: b"),
    ],
)
def test_what_is_wrong_with_a_tool_to_fall_back_on(tools: list[tuple[str, str, str]], said: str) -> None:
    listed = [
        {"name": name, "server": server} | ({"fallback": {"tool": {"name": other}}} if other else {})
        for name, server, other in tools
    ]
    spec = {"selector": {}, "servers": TWO_SERVERS, "tools": listed}
    document = {**GOOD, "spec": spec}
    assert said in str(check(document)[0])


def test_a_chain_ends() -> None:
    chain = [
        {"name": "a", "server": "kb", "fallback": {"tool": {"name": "b"}}},
        {"name": "b", "server": "kb", "fallback": {"tool": {"name": "c"}}},
        {"name": "c", "server": "kb"},
    ]
    assert check({**GOOD, "spec": {"selector": {}, "servers": TWO_SERVERS, "tools": chain}}) == []


def test_egress_is_allowed_unless_a_policy_denies_it() -> None:
    assert compiled().egress_default == "Allow"
    assert compiled(egress={"default": "Deny"}).egress_default == "Deny"


def test_a_denial_of_egress_stands_though_its_policy_has_lost_every_server() -> None:
    older = compiled("older")
    younger = compiled("younger", "2026-02-01T00:00:00Z", egress={"default": "Deny"})
    found = resolve([older, younger], {"app": "agent"}).snapshot
    assert [(policy.name, len(policy.servers), policy.egress_default) for policy in found.policies] == [
        ("older", 2, "Allow"),
        ("younger", 0, "Deny"),
    ]
