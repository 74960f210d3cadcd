"""What a whole outage costs its tool, and how soon all is well after it, for every way in which a tool can fail.

At most 1.2 attempts per half-open period per pod; 95 % of the traffic is back within one open time and a second. The
outage ends at the worst moment: when the probe of every pod has just been sent, and is part of the outage.
"""

from typing import Any, NamedTuple

import pytest

from tests.measured import measured
from tests.unit.simulate.incidents import played, policy, scenario
from toolpolicy_sidecar.simulate.observed import ToolObserved

PODS = 3
BEGINS_S = 10
BREAKER = {"consecutiveFailures": 3, "openFor": "10s"}
RETRY = {"maxAttempts": 5, "idempotent": True, "backoff": {"base": "20ms", "max": "200ms"}}
TIMEOUT = {"total": "8s", "attempt": "3s", "connect": "2500ms"}


class Kind(NamedTuple):
    """A way to fail, and the rules under which it does. All is as it stays from `settled_s` on; then the circuit is
    open for `open_s` each time."""

    fault: dict[str, Any]
    protocol: str = "HTTP"
    breaker: dict[str, Any] = BREAKER
    timeout: dict[str, str] = TIMEOUT
    settled_s: int = 20
    ends_s: int = 80
    open_s: int = 10


HANG: dict[str, Any] = {"hang": {"percent": 100}}
PATIENT = {"total": "25s", "connect": "1s"}
SLOW = {"slowCall": {"over": "500ms", "percent": 80}, "openFor": "10s"}
BACKED_OFF = {"consecutiveFailures": 3, "openFor": "5s", "maxOpenFor": "20s"}
KINDS = {
    "refused": Kind({"outage": "Refused"}),
    "refused, MCP": Kind({"outage": "Refused"}, protocol="MCP"),
    "unreachable": Kind({"outage": "Unreachable"}),
    "reset": Kind({"outage": "Reset"}),
    "503": Kind({"errors": {"percent": 100}}),
    "hang": Kind(HANG),
    "hang, MCP": Kind(HANG, protocol="MCP"),
    "hang, attempts longer than openFor": Kind(HANG, timeout=PATIENT, settled_s=65, ends_s=115),
    "hang, openFor 5s doubled up to 20s": Kind(HANG, breaker=BACKED_OFF, settled_s=55, ends_s=135, open_s=20),
    "slow": Kind({"latencyFactor": 60}, breaker=SLOW, settled_s=25),
}


def outage(kind: Kind, ends_s: int, until_s: int) -> tuple[ToolObserved, int | None]:
    """What was seen of the tool, and the seconds until traffic was back."""
    phase = {"name": "outage", "at": f"{BEGINS_S}s", "for": f"{ends_s - BEGINS_S}s"} | kind.fault
    rules = policy(protocol=kind.protocol, circuitBreaker=kind.breaker, retry=RETRY, timeout=kind.timeout)
    incident = scenario(
        phase, duration=f"{until_s}s", callsPerSecond=12, latency={"constant": "50ms"}, pods=PODS
    )
    tool, rows = played(rules, incident)
    if until_s == ends_s:
        return tool, None
    opened, recovery = rows["outage"].opened, rows["after outage"].recovery
    assert opened is not None
    assert opened.pods == PODS
    assert BEGINS_S + opened.last_s < kind.settled_s
    assert recovery is not None
    return tool, recovery.traffic_s


@pytest.mark.parametrize("name", KINDS)
def test_an_outage_gets_one_probe_per_open_time_and_recovery_is_quick(name: str) -> None:
    kind = KINDS[name]
    tool, _ = outage(kind, kind.ends_s, kind.ends_s)
    seen = range(kind.settled_s, kind.ends_s)
    attempts = sum(tool.attempts[second] for second in seen)
    periods = PODS * len(seen) / kind.open_s
    last = max(second for second in seen[:-1] if tool.attempts[second] and not tool.attempts[second + 1])
    _, back_s = outage(kind, last + 1, last + 1 + kind.open_s + 15)
    measured(
        f"simulated outage ({name}): {attempts / periods:.2f} attempts per half-open period,"
        f" traffic back after {back_s} s at the worst (open for {kind.open_s} s)"
    )
    assert 0.5 * periods <= attempts <= 1.2 * periods
    assert back_s is not None
    assert back_s <= kind.open_s + 1
