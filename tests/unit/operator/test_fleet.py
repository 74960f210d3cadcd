"""What is known of sidecars that come, go, fall silent, and speak of what is not theirs."""

from toolpolicy_api.channel import SILENCE_S, Nack, ToolKey, ToolReport
from toolpolicy_operator.fleet import GRACE_S, Fleet

KEY = ToolKey("default/agent", "kb", "search")


def closed() -> ToolReport:
    return ToolReport(key=KEY, state="Closed")


def opened() -> ToolReport:
    return ToolReport(key=KEY, state="Open")


def test_before_the_first_heartbeat_nothing_is_known_of_circuits() -> None:
    fleet = Fleet()
    fleet.connect("p", "h", 0.0)
    fleet.report("p", (opened(),))
    view = fleet.view("p", 0.0)
    assert view.connected
    assert view.tools is None, "one report would be half the truth"
    assert fleet.heartbeat("p", (opened(),), 0.0)
    assert fleet.view("p", 0.0).tools == {KEY: opened()}


def test_a_heartbeat_says_whether_a_state_is_another() -> None:
    fleet = Fleet()
    fleet.connect("p", "h", 0.0)
    assert fleet.heartbeat("p", (closed(),), 1.0)
    assert not fleet.heartbeat("p", (closed(),), 2.0)
    assert fleet.heartbeat("p", (opened(),), 3.0)


def test_a_connection_that_comes_back_at_once_keeps_what_was_known() -> None:
    fleet = Fleet()
    fleet.connect("p", "h", 0.0)
    fleet.heartbeat("p", (opened(),), 0.0)
    fleet.disconnect("p", 1.0)
    fleet.connect("p", "h", 1.0 + GRACE_S)
    assert fleet.view("p", 1.0 + GRACE_S).tools == {KEY: opened()}
    fleet.disconnect("p", 10.0)
    fleet.connect("p", "h", 10.1 + GRACE_S)
    assert fleet.view("p", 10.1 + GRACE_S).tools is None


def test_silence_is_no_knowledge_though_the_connection_stands() -> None:
    fleet = Fleet()
    fleet.connect("p", "h", 0.0)
    fleet.heartbeat("p", (closed(),), 0.0)
    assert fleet.view("p", SILENCE_S).connected
    assert not fleet.view("p", SILENCE_S + 0.1).connected
    assert fleet.fading(SILENCE_S + 0.1) == ["p"]


def test_a_refused_hash_is_refused_until_it_is_in_force() -> None:
    fleet = Fleet()
    fleet.connect("p", "old", 0.0)
    fleet.refuses("p", Nack(version=1, hash="new", error="no"))
    assert not fleet.enforces("p", "old"), "a heartbeat with the old hash is no news"
    assert fleet.view("p", 0.0).nack
    assert fleet.enforces("p", "new")
    assert fleet.view("p", 0.0).nack is None


def test_of_strangers_nothing_is_kept() -> None:
    fleet = Fleet()
    fleet.report("p", (opened(),))
    assert not fleet.heartbeat("p", (opened(),), 0.0)
    assert not fleet.enforces("p", "h")
    fleet.disconnect("p", 0.0)
    assert not fleet.view("p", 0.0).connected
