"""May it be tried again, and when: every condition by itself, then bounds that hold for all."""

import heapq
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.resilience.budget import RetryBudget
from toolpolicy_sidecar.resilience.retry import Ended, Failed, again, backoff_s

RETRY = snapshot.Retry(
    max_attempts=3,
    backoff_base_ms=100,
    backoff_max_ms=2_000,
    on=("Connect", "Timeout", "ServerError", "Throttled"),
    idempotent=True,
)
FAILED = Failed(
    Reason.ServerError,
    attempts=1,
    answered=False,
    keyed=False,
    resendable=True,
    circuit_open=False,
    now=100.0,
    deadline=110.0,
    wait_s=0.0,
)


def decided(retry: dict[str, Any] | None = None, /, fraction: float = 0.5, **failed: Any) -> float | Ended:
    changed = snapshot.Retry(
        **{name: getattr(RETRY, name) for name in RETRY.__struct_fields__} | (retry or {})
    )
    return again(changed, FAILED._replace(**failed), RetryBudget(), fraction)


def test_an_idempotent_tool_is_tried_again_after_the_back_off() -> None:
    assert decided() == 0.05


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.NameNotResolved, "Connect"),
        (Reason.ConnectRefused, "Connect"),
        (Reason.ConnectTimeout, "Connect"),
        (Reason.ConnectionReset, "Connect"),
        (Reason.IncompleteAnswer, "Connect"),
        (Reason.AttemptTimeout, "Timeout"),
        (Reason.IdleTimeout, "Timeout"),
        (Reason.ServerError, "ServerError"),
        (Reason.Throttled, "Throttled"),
    ],
)
def test_only_what_is_listed(reason: Reason, kind: str) -> None:
    others = tuple(name for name in RETRY.on if name != kind)
    assert decided({"on": (kind,)}, reason=reason) == 0.05
    assert decided({"on": others}, reason=reason) is Ended.NotListed


@pytest.mark.parametrize(
    "reason",
    [
        Reason.TlsFailed,
        Reason.MalformedAnswer,
        Reason.AnswerTooLarge,
        Reason.AnswerUnscannable,
        Reason.AnswerUnparsable,
        Reason.ClientError,
        Reason.ToolError,
        Reason.ClientGone,
        Reason.RequestTimeout,
        Reason.InternalError,
    ],
)
def test_what_would_end_the_same_way(reason: Reason) -> None:
    assert decided(reason=reason) is Ended.NotListed


@pytest.mark.parametrize("reason", [Reason.NameNotResolved, Reason.ConnectRefused, Reason.ConnectTimeout])
def test_what_was_never_sent_may_be_sent_by_any_tool(reason: Reason) -> None:
    assert decided({"idempotent": False}, reason=reason, resendable=False) == 0.05


@pytest.mark.parametrize("reason", [Reason.ConnectionReset, Reason.AttemptTimeout, Reason.ServerError])
def test_what_was_sent_needs_an_idempotent_tool_or_a_key(reason: Reason) -> None:
    assert decided({"idempotent": False}, reason=reason) is Ended.NotRepeatable
    assert decided({"idempotent": False}, reason=reason, keyed=True) == 0.05
    assert decided(reason=reason, resendable=False) is Ended.NotRepeatable


def test_never_once_the_agent_has_the_beginning_of_an_answer() -> None:
    assert decided(answered=True) is Ended.Answered


def test_attempts_are_counted_with_the_first() -> None:
    assert decided(attempts=2) == 0.1
    assert decided(attempts=3) is Ended.AttemptsSpent
    assert decided({"max_attempts": 1}) is Ended.AttemptsSpent


def test_an_open_circuit_ends_the_retries() -> None:
    assert decided(circuit_open=True) is Ended.CircuitOpen


def test_the_next_attempt_begins_before_the_deadline() -> None:
    assert decided(now=109.96) is Ended.NoTime
    assert decided(now=109.94) == 0.05
    assert decided(now=109.96, fraction=0.0) == 0.0
    assert decided(now=110.0, fraction=0.0) is Ended.NoTime
    assert decided(reason=Reason.TotalTimeout) is Ended.NoTime


def test_a_wait_that_the_server_asks_for_is_kept_whole_or_not_begun() -> None:
    assert decided(wait_s=3.0) == 3.05
    assert decided(wait_s=9.96) is Ended.NoTime


def test_the_budget_is_asked_last() -> None:
    budget = RetryBudget()
    for _ in range(3):
        assert again(RETRY, FAILED._replace(attempts=3), budget, 0.5) is Ended.AttemptsSpent
    assert [again(RETRY, FAILED, budget, 0.5) for _ in range(4)] == [0.05, 0.05, 0.05, Ended.BudgetSpent]


def test_a_storm_adds_a_fifth_to_the_load_at_most() -> None:
    """A minute of an outage, ten calls a second, each of which would be tried five times more."""
    budget, retry = RetryBudget(), snapshot.Retry(6, 100, 2_000, RETRY.on, idempotent=True)
    due: list[tuple[float, int]] = [(call / 10, 1) for call in range(600)]
    attempts = 0
    while due:
        now, number = heapq.heappop(due)
        attempts += 1
        if number == 1:
            budget.deposit(1000 + now)
        failed = FAILED._replace(attempts=number, now=1000 + now, deadline=1030 + now)
        delay_s = again(retry, failed, budget, fraction=0.5)
        if not isinstance(delay_s, Ended):
            heapq.heappush(due, (now + delay_s, number + 1))
    print(f"600 calls made {attempts} attempts")
    assert 600 < attempts <= 720


@given(
    base_ms=st.integers(1, 10_000),
    more_ms=st.integers(0, 60_000),
    attempts=st.integers(1, 10),
    fraction=st.floats(0, 1, exclude_max=True),
)
def test_back_off_is_bounded_by_its_ceiling(
    base_ms: int, more_ms: int, attempts: int, fraction: float
) -> None:
    retry = snapshot.Retry(max_attempts=10, backoff_base_ms=base_ms, backoff_max_ms=base_ms + more_ms, on=())
    delay_s = backoff_s(retry, attempts, fraction)
    ceiling_s = min(base_ms * 2 ** (attempts - 1), base_ms + more_ms) / 1000
    assert 0 <= delay_s <= ceiling_s
    assert backoff_s(retry, attempts, 0.5) == ceiling_s / 2


@given(
    reason=st.sampled_from(Reason),
    attempts=st.integers(1, 5),
    flags=st.tuples(*[st.booleans()] * 5),
    left_s=st.floats(-1, 5),
    wait_s=st.floats(0, 5),
    fraction=st.floats(0, 1, exclude_max=True),
)
def test_no_retry_is_unsafe_or_late(
    *,
    reason: Reason,
    attempts: int,
    flags: tuple[bool, ...],
    left_s: float,
    wait_s: float,
    fraction: float,
) -> None:
    answered, keyed, resendable, circuit_open, idempotent = flags
    found = decided(
        {"idempotent": idempotent},
        fraction=fraction,
        reason=reason,
        attempts=attempts,
        answered=answered,
        keyed=keyed,
        resendable=resendable,
        circuit_open=circuit_open,
        deadline=FAILED.now + left_s,
        wait_s=wait_s,
    )
    if isinstance(found, Ended):
        return
    unsent = reason in {Reason.NameNotResolved, Reason.ConnectRefused, Reason.ConnectTimeout}
    assert unsent or (resendable and (idempotent or keyed))
    assert not answered
    assert not circuit_open
    assert attempts < RETRY.max_attempts
    assert wait_s <= found < left_s
