"""The throttle gate: shut by a 429, for as long as the server asks, within bounds."""

import pytest

from toolpolicy_sidecar.resilience.throttle import DEFAULT_PAUSE_S, LONGEST_PAUSE_S, ThrottleGate


@pytest.mark.parametrize(
    ("retry_after_s", "pause_s"),
    [(7.0, 7.0), (0.0, 0.0), (None, DEFAULT_PAUSE_S), (86_400.0, LONGEST_PAUSE_S)],
)
def test_case_13_shut_for_as_long_as_the_server_asks(retry_after_s: float | None, pause_s: float) -> None:
    gate = ThrottleGate()
    assert gate.left_s(1000.0) == 0.0
    gate.shut(1000.0, retry_after_s)
    assert gate.left_s(1000.0) == pause_s
    assert gate.left_s(1000.0 + pause_s) == 0.0


def test_the_longest_of_several_holds() -> None:
    gate = ThrottleGate()
    gate.shut(1000.0, 10.0)
    gate.shut(1001.0, None)
    assert gate.left_s(1001.0) == 9.0
    gate.shut(1002.0, 20.0)
    assert gate.left_s(1002.0) == 20.0


def test_opened_by_hand() -> None:
    gate = ThrottleGate()
    gate.shut(1000.0, 10.0)
    gate.open()
    assert gate.left_s(1000.0) == 0.0
