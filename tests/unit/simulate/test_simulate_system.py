"""Properties of the whole, that no test of a part can show: fleets of sidecars through outages and storms."""

import time
from typing import Any

import pytest

from tests.measured import measured
from tests.unit.simulate.incidents import played, policy, scenario
from toolpolicy_sidecar.simulate.observed import ToolObserved

OPEN_FOR_S = 10
BREAKER = {"consecutiveFailures": 3, "openFor": f"{OPEN_FOR_S}s"}
RETRY = {"maxAttempts": 5, "idempotent": True, "backoff": {"base": "20ms", "max": "200ms"}}
BUDGET_WINDOW_S = 10


def amplification(tool: ToolObserved, start_s: int, end_s: int) -> float:
    return sum(tool.attempts[start_s:end_s]) / sum(tool.calls[start_s:end_s])


@pytest.mark.parametrize("percent", [50, 100])
def test_a_retry_storm_does_not_amplify_the_load(percent: int) -> None:
    """No breaker helps here: the budget alone holds retries to a fifth of the calls of ten seconds, and those before
    the storm count."""
    storm = {"name": "storm", "at": "10s", "for": "40s", "errors": {"percent": percent}}
    tool, _ = played(policy(retry=RETRY), scenario(storm, duration="50s", callsPerSecond=25, pods=1))
    load = amplification(tool, 10 - BUDGET_WINDOW_S, 50)
    measured(f"simulated retry storm ({percent} % errors, 5 attempts allowed): load x{load:.3f}")
    assert 1.15 < load <= 1.2


def test_a_pod_that_calls_rarely_amplifies_by_the_floor_of_its_budget() -> None:
    """Three retries in ten seconds are always allowed: as many as there are calls here. The simulator shows it."""
    storm = {"name": "storm", "at": "1m", "for": "10m", "errors": {"percent": 100}}
    calm = scenario(storm, duration="11m", callsPerSecond=0.3, pods=1)
    _, rows = played(policy(retry=RETRY), calm)
    assert 1.6 < (rows["storm"].load or 0) <= 2.2


def test_a_hang_is_answered_at_the_timeout_and_then_at_once() -> None:
    hang = {"name": "hang", "at": "20s", "for": "60s", "hang": {"percent": 100}}
    _, rows = played(policy(circuitBreaker=BREAKER), scenario(hang, duration="100s"))
    row = rows["hang"]
    assert set(row.failed) == {"AttemptTimeout"}
    assert row.p95_ms == pytest.approx(2000)
    assert set(row.refused) == {"CircuitOpen"}
    assert row.opened is not None
    assert row.opened.first_s == pytest.approx(2.0, abs=1.0)
    assert row.opened.reason == "3 consecutive failures"


def test_a_throttling_tool_is_left_alone_and_its_circuit_stays_closed() -> None:
    storm = {"name": "storm", "at": "20s", "for": "40s", "throttle": {"percent": 100, "retryAfter": "5s"}}
    tool, rows = played(policy(circuitBreaker=BREAKER), scenario(storm, duration="80s"))
    row = rows["storm"]
    assert set(row.failed) == set(row.refused) == {"Throttled"}
    assert row.attempts <= 3 * 40 / 5 + 3
    assert tool.switches == []
    recovery = rows["after storm"].recovery
    assert recovery is not None
    assert recovery.circuits_s == 0
    assert (recovery.traffic_s or 0) <= 6


def test_more_calls_than_connections_wait_for_one_and_give_up_in_connect_time() -> None:
    hang = {"name": "hang", "at": "1s", "for": "3s", "hang": {"percent": 100}}
    crowd = scenario(hang, duration="9s", callsPerSecond=1000, pods=1)
    _, rows = played(policy(timeout={"total": "3s", "connect": "500ms"}), crowd)
    assert set(rows["hang"].failed) == {"TotalTimeout", "ConnectTimeout"}
    recovery = rows["after hang"].recovery
    assert recovery is not None
    assert recovery.traffic_s is not None  # every connection was given back
    assert recovery.traffic_s <= 4


MIXED: list[dict[str, Any]] = [
    {"name": "brown-out", "at": "10s", "for": "20s", "errors": {"percent": 30}, "latencyFactor": 8},
    {"name": "odd", "at": "30s", "for": "10s", "hang": {"percent": 20}, "throttle": {"percent": 10}},
]


@pytest.mark.parametrize("protocol", ["HTTP", "MCP"])
@pytest.mark.parametrize("mode", ["Enforce", "Off"])
def test_every_call_is_counted_once(protocol: str, mode: str) -> None:
    rules = policy(protocol=protocol, circuitBreaker=BREAKER, retry=RETRY)
    if mode == "Off":
        rules = rules.replace(b'"namespace":"agents"', b'"mode":"Off","namespace":"agents"')
    tool, rows = played(rules, scenario(*MIXED, duration="60s"))
    for row in rows.values():
        ends = row.answered + sum(row.failed.values()) + sum(row.refused.values()) + row.unfinished
        assert row.calls == ends
        assert row.admitted == row.calls - sum(row.refused.values())
    assert sum(row.attempts for row in rows.values()) == sum(tool.attempts)
    assert sum(tool.attempts) == sum(row.admitted + row.retries for row in rows.values())
    assert bool(rows["odd"].unfinished) == (mode == "Off")


def test_a_tool_that_is_slow_to_open_is_visible() -> None:
    """What the simulator is for: minimumCalls are per pod, and nobody comes to ten here."""
    breaker = {"failureRate": {"percent": 50, "window": "10s", "minimumCalls": 10}, "openFor": "10s"}
    hang = {"name": "hang", "at": "20s", "for": "40s", "hang": {"percent": 100}}
    _, rows = played(policy(circuitBreaker=breaker), scenario(hang, duration="60s", callsPerSecond=1))
    assert rows["hang"].opened is None
    assert rows["hang"].refused == {}


def test_fallbacks_are_counted_beside_what_went_wrong() -> None:
    outage = {"name": "outage", "at": "5s", "for": "10s", "outage": "Refused"}
    rules = policy(protocol="MCP", circuitBreaker=BREAKER, fallback={"cached": {"maxAge": "1h"}})
    _, rows = played(rules, scenario(outage, duration="15s"))
    assert not rows["calm"].fallbacks
    row = rows["outage"]
    assert row.answered == 0
    assert row.fallbacks == {"Cached": row.calls}


def test_a_queue_of_calls_is_simulated_too() -> None:
    """Two slots for twenty calls a second of a fifth of a second each are too few: the queue fills."""
    busy = scenario(duration="20s", pods=1, latency={"constant": "200ms"})
    _, rows = played(policy(concurrency={"max": 2, "queue": 3, "queueTimeout": "150ms"}), busy)
    row = rows["calm"]
    assert set(row.refused) == {"ConcurrencyLimit", "QueueTimeout"}
    assert 0.35 < row.admitted / row.calls < 0.65


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_hour_of_a_fleet() -> None:
    """Every kind of fault, a hundred calls a second."""
    phases: list[dict[str, Any]] = [
        {"name": "outage", "at": "5m", "for": "5m", "outage": "Refused"},
        {"name": "brown-out", "at": "20m", "for": "3m", "errors": {"percent": 40}, "latencyFactor": 5},
        {"name": "storm", "at": "30m", "for": "2m", "throttle": {"percent": 50, "retryAfter": "5s"}},
        {"name": "hang", "at": "40m", "for": "2m", "hang": {"percent": 100}},
    ]
    rules = policy(protocol="MCP", circuitBreaker=BREAKER, retry=RETRY)
    began = time.process_time()
    tool, rows = played(rules, scenario(*phases, duration="1h", callsPerSecond=100, pods=10))
    took_s = time.process_time() - began
    calls = sum(tool.calls)
    measured(
        f"simulated hour, 100 calls a second: {took_s:.0f} s of CPU, {calls / took_s:,.0f} calls a second"
    )
    for name in ("outage", "brown-out", "storm", "hang"):
        recovery = rows[f"after {name}"].recovery
        assert recovery is not None
        assert recovery.traffic_s is not None
        assert recovery.traffic_s <= OPEN_FOR_S + 1
