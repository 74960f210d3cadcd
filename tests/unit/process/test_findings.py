"""What heartbeats say of redaction: counts of the last five minutes, by policy, direction and detector."""

from tests.unit.telemetry.made import Clock, record
from toolpolicy_api.channel import Finding
from toolpolicy_sidecar.findings import MOST, Findings
from toolpolicy_sidecar.preview import Previewed
from toolpolicy_sidecar.record import RedactedMessage


def test_calls_messages_and_what_shadow_would_have_done() -> None:
    findings = Findings(Clock())
    findings.call(record(redacted_request={"Email": 2}, redacted_response={"Email": 1, "JWT": 1}))
    findings.call(record(policy="a/q", shadow_redacted_request={"Email": 4}))
    findings.message(RedactedMessage(policy="a/p", server="kb", hits={"JWT": 4}))
    assert findings.told().redacted == (
        Finding("a/p", "Response", "JWT", 5),
        Finding("a/q", "Request", "Email", 4),
        Finding("a/p", "Request", "Email", 2),
        Finding("a/p", "Response", "Email", 1),
    )


def test_five_minutes() -> None:
    clock = Clock()
    findings = Findings(clock)
    findings.call(record(redacted_request={"Email": 1}))
    clock.now = 250.0
    findings.call(record(redacted_request={"Email": 1}))
    assert [each.count for each in findings.told().redacted] == [2]
    clock.now = 310.0
    assert [each.count for each in findings.told().redacted] == [1]
    clock.now = 10_000.0
    assert findings.told().redacted == ()


def test_bounded() -> None:
    findings = Findings(Clock())
    findings.call(record(redacted_request={f"d-{n}": n + 1 for n in range(MOST + 10)}))
    assert len(findings.told().redacted) == MOST
    assert findings.told().redacted[0].count == MOST + 10


def test_what_stricter_redaction_would_find_is_apart() -> None:
    findings = Findings(Clock())
    findings.previewed(Previewed("a/p", "kb", "search", {"Request": {"Email": 2}, "Response": {}}))
    assert findings.told() == ((), (Finding("a/p", "Request", "Email", 2),))
