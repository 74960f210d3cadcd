"""How times to open and to recover are read from what happened."""

from tests.unit.simulate.incidents import scenario
from toolpolicy_sidecar.simulate.observed import Span, Switch, ToolObserved, spans
from toolpolicy_sidecar.simulate.report import Opened, back_after_s, closed_after_s, opened

OUTAGE = {"name": "outage", "at": "10s", "for": "10s", "outage": "Refused"}
AFTER = Span("after outage", 20.0, 60.0, after="outage")


def test_a_scenario_is_cut_at_its_phases() -> None:
    incident = scenario(OUTAGE, OUTAGE | {"name": "again", "at": "20s"}, duration="60s")
    assert spans(incident, "look") == [
        Span("calm", 0.0, 10.0),
        Span("outage", 10.0, 20.0, fault="outage"),
        Span("again", 20.0, 30.0, fault="again"),
        Span("after again", 30.0, 60.0, after="again"),
    ]
    assert spans(scenario(duration="60s"), "look") == [Span("calm", 0.0, 60.0)]


def test_the_first_opening_of_each_pod_counts() -> None:
    span = Span("outage", 10.0, 20.0, fault="outage")
    switches = [
        Switch(9.0, 2, "Closed", "Open", "before"),
        Switch(11.0, 1, "Closed", "Open", "3 consecutive failures"),
        Switch(12.5, 0, "Closed", "Open", "other"),
        Switch(13.0, 2, "HalfOpen", "Open", "probe failed"),
        Switch(14.0, 1, "Closed", "Open", "later"),
        Switch(20.0, 3, "Closed", "Open", "after"),
    ]
    assert opened(switches, span) == Opened(2, 1.0, 2.5, "3 consecutive failures")
    assert opened(switches[:1], span) is None
    assert opened(switches[1:2], span) == Opened(1, 1.0, 1.0, "3 consecutive failures")


def test_recovery_lasts_until_every_open_circuit_has_closed() -> None:
    away = [Switch(11.0, 0, "Closed", "Open"), Switch(12.0, 1, "Closed", "Open")]
    back = [Switch(22.0, 1, "HalfOpen", "Closed"), Switch(29.0, 0, "HalfOpen", "Closed")]
    assert closed_after_s([*away, *back], AFTER) == 9.0
    assert closed_after_s([*away, back[0]], AFTER) is None
    assert closed_after_s([], AFTER) == 0.0
    later = [Switch(40.0, 2, "Closed", "Open"), Switch(50.0, 2, "HalfOpen", "Closed")]
    assert closed_after_s([*away, *back, *later], AFTER) == 9.0


def traffic(answered: dict[int, int]) -> ToolObserved:
    """A hundred calls a second; all are answered, where nothing else is said."""
    tool = ToolObserved("look", spans(scenario(OUTAGE, duration="60s"), "look"), 60.0)
    for second in range(60):
        tool.calls[second], tool.answered[second] = 100, answered.get(second, 100)
    return tool


def test_traffic_is_back_when_a_second_and_the_ten_from_it_are_good() -> None:
    assert back_after_s(traffic({}), AFTER, 1.0) == 0
    assert back_after_s(traffic({20: 0, 21: 50, 22: 94, 23: 95}), AFTER, 1.0) == 3
    lucky = dict.fromkeys(range(20, 30), 0) | {24: 100}
    assert back_after_s(traffic(lucky), AFTER, 1.0) == 10
    assert back_after_s(traffic(dict.fromkeys(range(20, 60), 94)), AFTER, 1.0) is None
    assert back_after_s(traffic(dict.fromkeys(range(20, 60), 94)), AFTER, 0.98) == 0


def test_a_second_without_calls_says_nothing() -> None:
    tool = traffic({20: 0})
    tool.calls[21] = tool.answered[21] = 0
    assert back_after_s(tool, AFTER, 1.0) == 2
