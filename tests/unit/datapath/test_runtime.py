"""A snapshot becomes a Runtime: what is refused, what is carried over, and what a circuit says."""

import dataclasses
import time
import tracemalloc

import msgspec
import pytest

from tests.unit.datapath.loopback import Recorded, breaker, by_hand, rules
from toolpolicy_api import snapshot
from toolpolicy_api.channel import LATENCY_BOUNDS_MS, Override, ToolKey, Totals
from toolpolicy_sidecar.circuit import Circuit
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.plan import InvalidSnapshot
from toolpolicy_sidecar.resilience.breaker import Outcome, Permit, Rejected
from toolpolicy_sidecar.runtime import UnknownTool
from toolpolicy_sidecar.slots import Slots
from toolpolicy_sidecar.tally import SLOT_S, SLOTS, Tally
from toolpolicy_sidecar.tool import HttpTools, McpTools, ToolState
from toolpolicy_sidecar.upstream.origin import parse


@dataclasses.dataclass
class Hands:
    """A clock that stands still until it is moved."""

    now: float = 1000.0
    wall_s: float = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now

    def unix_ms(self) -> int:
        return round((self.now + self.wall_s) * 1000)


class Case:
    def __init__(self) -> None:
        self.clock, self.recorded = Hands(), Recorded()
        self.current = Current(recorder=self.recorded, clock=self.clock)

    def install(self, *policies: snapshot.Policy) -> None:
        self.current.install(snapshot.encode(snapshot.Snapshot(policies)), "test")

    def circuit(self, tool: str = "search") -> Circuit:
        assert self.current.runtime
        return self.current.runtime.circuit(tool)

    def said(self) -> list[tuple[str, str, str]]:
        """Transitions since the last look."""
        found: list[tuple[str, str, str]] = [(t.before, t.after, t.reason) for t in self.recorded.transitions]
        self.recorded.transitions.clear()
        return found

    def fail(self, tool: str = "search") -> None:
        permit = self.circuit(tool).acquire(self.clock.now, self.clock.now + 1)
        assert isinstance(permit, Permit)
        self.circuit(tool).settle(permit, Outcome.FAILURE, "ServerError: HTTP 500", duration_s=0.1)


@pytest.fixture
def case() -> Case:
    return Case()


def tool(name: str, redaction: snapshot.Redaction | None) -> snapshot.Tool:
    return snapshot.Tool(name, "kb", snapshot.McpMatch(name), rules(), redaction)


def policy(
    tool_rules: snapshot.Rules | None = None, url: str = "http://kb.test/mcp", name: str = "p", **more: object
) -> snapshot.Policy:
    servers = (
        snapshot.Server("kb", "MCP", url, rules()),
        snapshot.Server("api", "HTTP", "http://api.test", rules()),
    )
    tools = (
        snapshot.Tool(
            "search", "kb", snapshot.McpMatch("search"), tool_rules or rules(breaker=breaker(2, 5000))
        ),
        snapshot.Tool("ticket", "api", snapshot.HttpMatch("/t/{id}"), rules()),
    )
    fields = {
        "namespace": "ns",
        "name": name,
        "uid": "u",
        "generation": 1,
        "created": "",
        "selector": snapshot.Selector(),
        "servers": servers,
        "tools": tools,
    }
    return msgspec.convert(fields | more, snapshot.Policy, from_attributes=True)


def told_of_time_by(header: str) -> snapshot.Policy:
    return policy(
        servers=(snapshot.Server("kb", "MCP", "http://x.test", rules(), timeout_header=header),), tools=()
    )


OTHER = snapshot.Server("kb", "MCP", "http://x.test", rules())
BAD_ALLOWED = snapshot.Redaction(
    detectors=("Email",), allow=(snapshot.Allowed(text="a"), snapshot.Allowed(regex="("))
)
BAD_PATTERN = snapshot.Redaction(patterns=(snapshot.Pattern("a", "x", ""), snapshot.Pattern("b", "(", "")))


@pytest.mark.parametrize(
    ("policies", "field"),
    [
        ((policy(), policy(name="q")), "policies[1].servers[0].name"),
        ((policy(url="ftp://kb.test"),), "policies[0].servers[0].url"),
        ((policy(url="http://"),), "policies[0].servers[0].url"),
        ((told_of_time_by("X-Left: 1\r\nX-Other"),), "policies[0].servers[0].timeout_header"),
        ((told_of_time_by(""),), "policies[0].servers[0].timeout_header"),
        ((policy(redaction=BAD_PATTERN),), "policies[0].redaction.patterns[1]"),
        ((policy(redaction=snapshot.Redaction(detectors=("Nonsense",))),), "policies[0].redaction.detectors"),
        ((policy(redaction=BAD_ALLOWED),), "policies[0].redaction.allow[1]"),
        ((policy(tools=(tool("search", BAD_PATTERN),)),), "policies[0].tools[0].redaction.patterns[1]"),
        (
            (policy(tools=(snapshot.Tool("a", "no", snapshot.McpMatch("a"), rules()),)),),
            "policies[0].tools[0].server",
        ),
        (
            (policy(tools=(snapshot.Tool("a", "kb", snapshot.HttpMatch("/"), rules()),)),),
            "policies[0].tools[0].match",
        ),
        (
            (policy(tools=(snapshot.Tool("a", "kb", snapshot.McpMatch("a"), rules()),) * 2),),
            "policies[0].tools[1].name",
        ),
        (
            (policy(tools=(snapshot.Tool("a", "api", snapshot.HttpMatch("/a/../b"), rules()),)),),
            "policies[0].tools[0].match.path",
        ),
        (
            (policy(rules(breaker=breaker(2, rates=snapshot.CallRates(10, failure_percent=50)))),),
            "policies[0].tools[0].rules.breaker.rates",
        ),
    ],
)
def test_a_bad_snapshot_names_the_field_and_changes_nothing(
    case: Case, policies: tuple[snapshot.Policy, ...], field: str
) -> None:
    case.install(policy())
    case.fail()
    before, state = case.current.runtime, case.circuit()
    with pytest.raises(InvalidSnapshot) as invalid:
        case.install(*policies)
    assert str(invalid.value).startswith(field)
    assert case.current.runtime is before
    assert case.circuit() is state
    case.fail()
    assert [(b, a) for b, a, _ in case.said()] == [("Closed", "Open")]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"policies": 1}', b'{"policies":[{"name":1}]}', b"\xff", b"[" * 5000]
)
def test_what_is_no_snapshot(case: Case, data: bytes) -> None:
    with pytest.raises(InvalidSnapshot):
        case.current.install(data, "test")
    assert case.current.runtime is None


def test_the_hash_is_of_the_bytes(case: Case) -> None:
    data = snapshot.encode(snapshot.Snapshot((policy(),)))
    runtime = case.current.install(data, "operator")
    assert (runtime.hash, runtime.source) == (snapshot.sha256(data), "operator")


def test_an_open_circuit_stays_open_over_a_reload(case: Case) -> None:
    case.install(policy())
    case.fail()
    case.fail()
    assert case.said() == [("Closed", "Open", "2 consecutive failures")]
    circuit = case.circuit()
    case.install(policy(rules(breaker=breaker(9, 60_000), total_ms=1)))
    assert case.circuit() is circuit
    assert isinstance(circuit.acquire(case.clock.now, case.clock.now + 1), Rejected)
    assert case.said() == []
    case.clock.now += 5
    assert isinstance(circuit.acquire(case.clock.now, case.clock.now + 1), Permit)
    assert [(b, a) for b, a, _ in case.said()] == [("Open", "HalfOpen")]


def test_another_place_is_another_circuit(case: Case) -> None:
    case.install(policy())
    case.fail()
    case.fail()
    case.said()
    old = case.circuit()
    case.install(policy(url="http://elsewhere.test/mcp"))
    assert case.circuit().report().state == "Closed"
    old.reset()  # by a call that still holds it
    assert case.said() == []


def test_calls_that_hold_a_removed_tool_end_quietly(case: Case) -> None:
    case.install(policy(rules(breaker=breaker(1))))
    old = case.circuit()
    permit = old.acquire(case.clock.now, case.clock.now + 1)
    assert isinstance(permit, Permit)
    case.install(policy(tools=()))
    with pytest.raises(UnknownTool, match=r"known: kb/\*, api/\*"):
        case.circuit()
    old.settle(permit, Outcome.FAILURE, "AttemptTimeout: over", duration_s=0.1)
    assert case.said() == []


def test_the_policy_switches_off_and_on(case: Case) -> None:
    case.install(policy())
    case.fail()
    case.fail()
    case.said()
    case.install(policy(rules(breaker=breaker(2, 5000), enabled=False)))
    assert case.said() == [("Open", "Disabled", "disabled by the policy")]
    report = case.circuit().report()
    assert (report.state, report.reason, report.open_until_ms) == ("Disabled", "disabled by the policy", None)
    case.install(policy())
    assert [(b, a) for b, a, _ in case.said()] == [("Disabled", "Open")]
    assert case.circuit().report().open_until_ms == case.clock.unix_ms() + 5000


def test_totals_never_go_back_and_leave_out_what_was_switched_off(case: Case) -> None:
    case.install(policy())
    circuit, began_ms = case.circuit(), case.clock.unix_ms()
    circuit.count(case.clock.now, "success", 7.0)
    case.clock.now += 600
    circuit.count(case.clock.now, "failure", 1e9)
    circuit.count(case.clock.now, "refused", None)
    case.install(policy(rules(enabled=False)))
    circuit.count(case.clock.now, "refused", None)
    report = circuit.report()
    assert (report.calls, report.errors) == (3, 3)
    latency = (0, 1, *(0,) * (len(LATENCY_BOUNDS_MS) - 2), 1)
    assert report.totals == Totals(began_ms, calls=3, errors=2, latency=latency)


def test_an_override_ends_by_itself(case: Case) -> None:
    case.install(policy())
    circuit = case.circuit()
    circuit.impose(by_hand("incident 7", 30.0, clock=case.clock))
    circuit.impose(by_hand("incident 8", 60.0, by="alice", clock=case.clock))
    report = circuit.report()
    assert report.state == "Disabled"
    assert report.override
    assert (report.override.reason, report.override.until_ms) == ("incident 8", case.clock.unix_ms() + 60_000)
    case.clock.now += 59.9
    assert circuit.override(case.clock.now)
    case.clock.now += 0.2
    assert circuit.report().override is None
    circuit.lift("enabled by hand")
    assert case.said() == [
        ("Closed", "Disabled", "disabled by hand: incident 7"),
        ("Disabled", "Disabled", "disabled by hand (alice): incident 8"),
        ("Disabled", "Closed", "no longer disabled by hand (alice): incident 8; its time was over"),
    ]


def test_forced_closed_by_hand_lets_pass_although_the_circuit_is_open(case: Case) -> None:
    case.install(policy())
    case.fail()
    case.fail()
    case.said()
    circuit, now = case.circuit(), case.clock.now
    circuit.impose(by_hand("false alarm", 3.0, by="bob", action="ForceClosed", clock=case.clock))
    report = circuit.report()
    assert (report.state, report.open_until_ms) == ("Closed", None)
    assert report.override == Override("ForceClosed", case.clock.unix_ms() + 3000, "false alarm", "bob")
    passed = circuit.acquire(now, now + 1)
    assert isinstance(passed, Permit)
    assert passed.would_reject
    circuit.settle(passed, Outcome.SUCCESS, None, duration_s=0.1)  # teaches the circuit nothing
    case.clock.now += 3.1
    assert isinstance(circuit.acquire(case.clock.now, case.clock.now + 1), Rejected)
    assert circuit.state(case.clock.now) == "Open"
    assert case.said() == [
        ("Open", "Closed", "forced closed by hand (bob): false alarm"),
        ("Closed", "Open", "no longer forced closed by hand (bob): false alarm; its time was over"),
    ]


def test_a_circuit_that_recovers_while_it_is_forced_closed_stays_closed(case: Case) -> None:
    case.install(policy())
    case.fail()
    case.fail()
    circuit = case.circuit()
    circuit.impose(by_hand(for_s=60.0, action="ForceClosed", clock=case.clock))
    case.clock.now += 5.1
    probe = circuit.acquire(case.clock.now, case.clock.now + 1)
    assert isinstance(probe, Permit)
    assert not probe.would_reject
    circuit.settle(probe, Outcome.SUCCESS, None, duration_s=0.1)
    case.said()
    circuit.lift("enabled by hand")
    assert case.said() == [("Closed", "Closed", "enabled by hand")]


@pytest.mark.parametrize("url", ["http://kb.test/mcp", "http://elsewhere.test/mcp"])
def test_an_override_survives_a_reload_and_another_place(case: Case, url: str) -> None:
    case.install(policy())
    case.circuit().impose(by_hand("incident 7", 30.0, by="alice", clock=case.clock))
    case.said()
    case.install(policy(rules(breaker=breaker(9, 100)), url=url))
    assert case.said() == []
    report = case.circuit().report()
    assert (report.state, report.reason) == ("Disabled", "disabled by hand (alice): incident 7")
    case.clock.now += 30.1
    assert case.circuit().report().override is None
    assert [(b, a) for b, a, _ in case.said()] == [("Disabled", "Closed")]


def test_what_the_policy_switches_off_no_hand_switches_on(case: Case) -> None:
    case.install(policy(rules(breaker=breaker(), enabled=False)))
    case.circuit().impose(by_hand(action="ForceClosed", clock=case.clock))
    assert case.circuit().report().state == "Disabled"


def test_what_the_breaker_does_while_switched_off_is_said_afterwards(case: Case) -> None:
    case.install(policy())
    circuit = case.circuit()
    permits = [circuit.acquire(case.clock.now, case.clock.now + 1) for _ in range(2)]
    circuit.impose(by_hand(clock=case.clock))
    for permit in permits:
        assert isinstance(permit, Permit)
        circuit.settle(permit, Outcome.FAILURE, "AttemptTimeout: over", duration_s=0.1)
    circuit.lift("enabled by hand")
    assert [(b, a) for b, a, _ in case.said()] == [("Closed", "Disabled"), ("Disabled", "Open")]
    circuit.reset()
    assert [(b, a) for b, a, _ in case.said()] == [("Open", "Closed")]


@pytest.mark.parametrize("hour_s", [3600.0, -3600.0])
def test_case_08_the_wall_clock_may_jump(case: Case, hour_s: float) -> None:
    case.install(policy())
    case.fail()
    case.fail()
    case.clock.wall_s += hour_s
    case.clock.now += 4.9
    assert isinstance(case.circuit().acquire(case.clock.now, case.clock.now + 1), Rejected)
    assert case.circuit().report().open_until_ms == case.clock.unix_ms() + 100
    case.clock.wall_s -= 2 * hour_s
    case.clock.now += 0.2
    assert isinstance(case.circuit().acquire(case.clock.now, case.clock.now + 1), Permit)


def test_a_report_is_true_without_calls(case: Case) -> None:
    case.install(policy())
    case.fail()
    case.fail()
    opened_ms = case.clock.unix_ms()
    report = case.circuit().report()
    assert (report.state, report.open_until_ms, report.last_transition_ms) == (
        "Open",
        opened_ms + 5000,
        opened_ms,
    )
    assert report.last_error == "ServerError: HTTP 500"
    case.clock.now += 6
    assert case.circuit().report().state == "HalfOpen"
    assert case.current.runtime
    assert [r.key.tool for r in case.current.runtime.reports()] == ["search", "*", "ticket", "*"]


def test_the_tally_forgets_after_five_minutes() -> None:
    tally = Tally(0)
    for number, latency_ms in enumerate((1.0, 5.0, 6.0, 200_000.0, None)):
        tally.add(100.0 + number * 20, error=number == 0, latency_ms=latency_ms)
    calls, errors, latency = tally.sums(200.0)
    assert (calls, errors) == (5, 1)
    assert len(latency) == len(LATENCY_BOUNDS_MS) + 1
    assert (latency[0], latency[1], latency[-1], sum(latency)) == (2, 1, 1, 4)
    assert tally.sums(100.0 + SLOTS * SLOT_S)[0] < 5
    assert tally.sums(200.0 + SLOTS * SLOT_S) == (0, 0, (0,) * 15)
    tally.add(90.0, error=True, latency_ms=1.0)  # a clock that goes back loses nothing
    assert tally.sums(200.0 + SLOTS * SLOT_S)[0] == 1


def test_a_tally_is_no_larger_for_many_calls() -> None:
    tracemalloc.start()
    tally = Tally(0)
    for minute in range(SLOTS + 1):
        for latency_ms in (0.0, *(bound + 1 for bound in LATENCY_BOUNDS_MS)) * (300 if minute == 0 else 1):
            tally.add(minute * SLOT_S, error=True, latency_ms=latency_ms)
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used_bytes < 1100


def test_a_tally_of_very_many_calls_forgets_as_others_do() -> None:
    tally = Tally(0)
    tally._counts[0] = 2**32 - 2
    tally.sums(SLOT_S)
    for _ in range(4):
        tally.add(SLOT_S, error=True, latency_ms=None)
    assert tally.sums(SLOTS * SLOT_S)[:2] == (4, 4)
    assert tally.totals().calls == 2**32 + 2
    assert tally.sums((1 + SLOTS) * SLOT_S)[:2] == (0, 0)


def state(name: str) -> ToolState:
    key = ToolKey("ns/p", "s", name)
    return ToolState(
        name,
        rules(),
        Circuit(key, parse("http://x"), rules(), Hands(), Recorded().transition),
        Slots("the tool", None, Hands()),
        redactor=None,
        mode="Enforce",
    )


def test_the_first_glob_that_matches_wins() -> None:
    tools = McpTools(
        [("search_[a-c]*", state("abc")), ("search_*", state("rest")), ("search_all", state("never"))]
    )
    for name, wanted in (
        ("search_book", "abc"),
        ("search_all", "abc"),
        ("search_z", "rest"),
        ("Search_z", None),
        ("", None),
    ):
        for _ in range(2):  # found, and remembered
            found = tools.find(name)
            assert (found.name if found else None) == wanted


def test_http_tools_in_the_order_of_the_policy() -> None:
    tools = HttpTools(
        [
            (snapshot.HttpMatch("/t/new", ("GET",)), state("new")),
            (snapshot.HttpMatch("/t/{id}", ("GET", "PUT")), state("one")),
            (snapshot.HttpMatch("/t/{id}", ("DELETE",)), state("delete")),
            (snapshot.HttpMatch("/"), state("root")),
            (snapshot.HttpMatch("/caf%c3%a9/{x}/"), state("café")),
        ]
    )
    found = {
        ("GET", "/t/new"): "new",
        ("GET", "/t/new/"): "new",
        ("PUT", "/t/new"): "one",
        ("GET", "/t/5"): "one",
        ("DELETE", "/t/5"): "delete",
        ("GET", "/"): "root",
        ("GET", ""): "root",
        ("GET", "/caf%C3%A9/1"): "café",
    }
    for (method, path), name in found.items():
        tool = tools.find(method, path)
        assert isinstance(tool, ToolState)
        assert tool.name == name
    assert tools.find("POST", "/t/5") == ("DELETE", "GET", "PUT")
    assert tools.find("GET", "/t") is None
    assert tools.find("GET", "/t/5/6") is None


def test_many_tools_load_fast(case: Case) -> None:
    many = tuple(
        snapshot.Tool(f"tool_{n}", "kb", snapshot.McpMatch(f"tool_{n}"), rules(breaker=breaker()))
        for n in range(10_000)
    )
    data = snapshot.encode(snapshot.Snapshot((policy(tools=many),)))
    started = time.perf_counter()
    case.current.install(data, "test")
    took_s = time.perf_counter() - started
    print(f"\n10,000 tools in force after {took_s * 1000:.0f} ms")
    assert took_s < 10


def test_a_tool_is_redacted_as_it_says_or_as_its_policy_says(case: Case) -> None:
    tools = (
        tool("own", snapshot.Redaction(detectors=("Email",), apply="Request")),
        tool("exempt", snapshot.Redaction()),
        tool("same", None),
    )
    case.install(policy(tools=tools, redaction=snapshot.Redaction(detectors=("SSN",), apply="Response")))
    assert case.current.runtime
    server = case.current.runtime.servers["kb"]
    assert isinstance(server.tools, McpTools)
    own, exempt, same = (server.tools.find(name) for name in ("own", "exempt", "same"))
    assert own
    assert exempt
    assert same
    assert own.on_request
    assert own.on_request.text("a@b.org").hits == {"Email": 1}
    assert (own.on_response, exempt.on_request, exempt.on_response) == (None, None, None)
    assert same.on_response is server.unlisted.on_response is not None
