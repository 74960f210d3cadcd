"""Sessions: what is counted, and when they are over."""

from typing import Any

from tests.unit.telemetry import made
from toolpolicy_sidecar.record import CallRecord
from toolpolicy_sidecar.sessions import Ended, Sessions

CLOCK = made.Clock()


def record(**fields: Any) -> CallRecord:
    """It took a second."""
    return made.record(**({"duration_ms": 1000.0, "session": "aaa"} | fields))


def added(sessions: Sessions, over: CallRecord, now: float) -> None:
    CLOCK.now = now
    sessions.add(over)


def expired(sessions: Sessions, now: float) -> None:
    CLOCK.now = now
    sessions.expire()


def test_turns_are_calls_one_after_another() -> None:
    ended: list[Ended] = []
    sessions = Sessions(ended.append, CLOCK, idle_s=60)
    for now in (1.0, 2.0, 10.0):  # each took a second: the second one begins as the first one ends
        added(sessions, record(), now)
    expired(sessions, 69.9)
    assert not ended
    expired(sessions, 70.0)
    assert ended == [Ended("a/p", calls=3, errors=0, iterations=3, duration_s=10.0)]


def test_calls_side_by_side_are_one_turn() -> None:
    ended: list[Ended] = []
    sessions = Sessions(ended.append, CLOCK)
    added(sessions, record(duration_ms=1000.0), 2.0)  # 1 to 2
    added(sessions, record(duration_ms=3000.0, outcome="failure"), 3.0)  # 0 to 3, around it
    added(sessions, record(duration_ms=1500.0, outcome="refused"), 4.0)  # 2.5 to 4
    added(sessions, record(duration_ms=100.0), 5.0)
    assert sessions.longest() == {"a/p": 2}
    expired(sessions, 1000.0)
    assert ended == [Ended("a/p", calls=4, errors=2, iterations=2, duration_s=5.0)]


def test_memory_is_bounded_and_the_silent_go_first() -> None:
    ended: list[Ended] = []
    sessions = Sessions(ended.append, CLOCK, limit=2)
    added(sessions, record(session="a"), 1.0)
    added(sessions, record(session="b"), 2.0)
    added(sessions, record(session="a"), 3.0)
    added(sessions, record(session="c"), 4.0)
    assert sessions.live == 2
    assert [one.calls for one in ended] == [1]
    added(sessions, record(session="a"), 5.0)
    assert sessions.longest() == {"a/p": 3}


def test_a_trace_is_a_session_where_nothing_else_is_and_fallbacks_are_no_calls_of_agents() -> None:
    sessions = Sessions(lambda _: None, CLOCK)
    added(sessions, record(session=None), 1.0)
    added(sessions, record(stands_for="search"), 1.0)
    assert sessions.live == 0
    added(sessions, record(session=None, trace_id="4bf92f3577b34da6a3ce929d0e0e4736"), 1.0)
    added(sessions, record(session=None, trace_id="5bf92f3577b34da6a3ce929d0e0e4736", own_trace=True), 1.0)
    assert sessions.live == 1
