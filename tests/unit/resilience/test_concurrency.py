"""Who gets a slot, who waits, who is sent away; and those who wait, in a real loop."""

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_api.snapshot import Concurrency
from toolpolicy_sidecar.admission import Admission
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.progress import Progress
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.resilience.concurrency import ConcurrencyLimiter, Full, Stage, Ticket
from toolpolicy_sidecar.slots import Slots

FOREVER = 1e9


def enter(limiter: ConcurrencyLimiter, now: float = 0.0, deadline: float = FOREVER) -> Ticket:
    ticket = limiter.enter(now, deadline)
    assert isinstance(ticket, Ticket)
    return ticket


def stages(*tickets: Ticket) -> list[str]:
    return [ticket.stage.name for ticket in tickets]


def counts(limiter: ConcurrencyLimiter | Slots) -> tuple[int, int]:
    return limiter.in_flight, limiter.waiting


def test_a_call_over_the_limit_is_refused_where_there_is_no_queue() -> None:
    limiter = ConcurrencyLimiter(Concurrency(max=2))
    first, second = enter(limiter), enter(limiter)
    assert limiter.enter(0, FOREVER) == Full(limit=2, waiting=0)
    limiter.leave(first, 0)
    assert enter(limiter).stage is Stage.HOLDING
    assert counts(limiter) == (2, 0)
    assert stages(first, second) == ["LEFT", "HOLDING"]


def test_first_come_first_served_and_nobody_overtakes() -> None:
    limiter = ConcurrencyLimiter(Concurrency(max=1, queue=2))
    held, one, two = enter(limiter), enter(limiter), enter(limiter)
    assert stages(held, one, two) == ["HOLDING", "WAITING", "WAITING"]
    assert limiter.enter(0, FOREVER) == Full(limit=1, waiting=2)
    assert limiter.leave(held, 1) == (one,)
    late = enter(limiter, 1)
    assert stages(one, two, late) == ["HOLDING", "WAITING", "WAITING"]
    assert limiter.leave(one, 1) == (two,)


def test_who_gives_up_leaves_no_trace() -> None:
    limiter = ConcurrencyLimiter(Concurrency(max=1, queue=2))
    held, one, two = enter(limiter), enter(limiter), enter(limiter)
    assert limiter.leave(one, 0) == ()
    assert counts(limiter) == (1, 1)
    assert limiter.leave(held, 0) == (two,)
    limiter.leave(two, 0)
    assert counts(limiter) == (0, 0)


def test_leaving_twice_has_no_effect() -> None:
    limiter = ConcurrencyLimiter(Concurrency(max=1, queue=1))
    held, waiting = enter(limiter), enter(limiter)
    assert limiter.leave(held, 0) == (waiting,)
    assert limiter.leave(held, 0) == ()
    assert counts(limiter) == (1, 0)


def test_a_slot_is_not_given_to_one_whose_time_is_over() -> None:
    limiter = ConcurrencyLimiter(Concurrency(max=1, queue=9, queue_timeout_ms=500))
    held, short, timed, later = enter(limiter), enter(limiter, 0, 0.2), enter(limiter), enter(limiter, 0.1)
    assert [short.until, timed.until, later.until] == [0.2, 0.5, 0.6]
    assert limiter.leave(held, 0.5) == (short, timed, later)
    assert stages(short, timed, later) == ["LEFT", "LEFT", "HOLDING"]
    assert counts(limiter) == (1, 0)


def test_case_15_a_limit_below_what_is_in_flight_never_goes_negative() -> None:
    limiter = ConcurrencyLimiter(Concurrency(max=3))
    held = [enter(limiter) for _ in range(3)]
    assert limiter.reconfigure(Concurrency(max=1), 0) == ()
    for ticket in held[:2]:
        assert isinstance(limiter.enter(0, FOREVER), Full)
        limiter.leave(ticket, 0)
    assert isinstance(limiter.enter(0, FOREVER), Full)
    limiter.leave(held[2], 0)
    assert enter(limiter).stage is Stage.HOLDING
    assert counts(limiter) == (1, 0)


@pytest.mark.parametrize("more", [Concurrency(max=3, queue=9), None])
def test_a_higher_limit_lets_those_in_who_wait(more: Concurrency | None) -> None:
    limiter = ConcurrencyLimiter(Concurrency(max=1, queue=9))
    enter(limiter)
    one, two, three = enter(limiter), enter(limiter), enter(limiter)
    assert limiter.reconfigure(more, 0) == ((one, two) if more else (one, two, three))


def test_a_shorter_queue_sends_nobody_away() -> None:
    limiter = ConcurrencyLimiter(Concurrency(max=1, queue=2))
    held, one, two = enter(limiter), enter(limiter), enter(limiter)
    assert limiter.reconfigure(Concurrency(max=1, queue=1), 0) == ()
    assert isinstance(limiter.enter(0, FOREVER), Full)
    limiter.leave(held, 0)
    assert stages(one, two) == ["HOLDING", "WAITING"]
    assert isinstance(limiter.enter(0, FOREVER), Full)


def test_a_limit_that_comes_with_a_reload_knows_what_is_in_flight() -> None:
    limiter = ConcurrencyLimiter(None)
    held = [enter(limiter) for _ in range(3)]
    limiter.reconfigure(Concurrency(max=3), 0)
    assert isinstance(limiter.enter(0, FOREVER), Full)
    limiter.leave(held[0], 0)
    assert enter(limiter).stage is Stage.HOLDING


# Those who wait


def slots(most: int, queue: int, queue_timeout_ms: int | None = None) -> Slots:
    return Slots("the tool", Concurrency(most, queue, queue_timeout_ms), SystemClock())


def soon() -> float:
    return time.monotonic() + 60


async def entered(of: Slots, deadline: float) -> Ticket:
    ticket = of.enter(time.monotonic(), deadline)
    if ticket.waits:
        await of.turn(ticket)
    return ticket


async def waiter(of: Slots, deadline: float | None = None) -> asyncio.Task[Ticket]:
    before = of.waiting
    task = asyncio.create_task(entered(of, soon() if deadline is None else deadline))
    while of.waiting == before:  # noqa: ASYNC110 -- a count has no event
        await asyncio.sleep(0)
    return task


async def test_waits_for_its_turn() -> None:
    of = slots(1, 2)
    held = await entered(of, soon())
    one, two = await waiter(of), await waiter(of)
    of.leave(held)
    first = await one
    assert not two.done()
    of.leave(first)
    of.leave(await two)
    assert counts(of) == (0, 0)


async def test_refusals_say_what_is_full_and_how_long_it_was() -> None:
    of = slots(1, 1, queue_timeout_ms=20)
    await entered(of, soon())
    one = await waiter(of)
    with pytest.raises(Stopped) as full:
        await entered(of, soon())
    assert full.value.problem == Problem(
        Reason.ConcurrencyLimit, "all slots of the tool are taken (1 at once are allowed), and 1 more wait"
    )
    with pytest.raises(Stopped) as late:
        await one
    assert late.value.problem.reason is Reason.QueueTimeout
    assert late.value.problem.detail == "no slot of the tool came free within 20 ms"
    assert counts(of) == (1, 0)


async def test_a_deadline_that_is_over_waits_for_nothing() -> None:
    of = slots(1, 1)
    await entered(of, soon())
    with pytest.raises(Stopped):
        await entered(of, time.monotonic() - 1)
    assert counts(of) == (1, 0)


async def test_cancelled_while_waiting() -> None:
    of = slots(1, 2)
    held = await entered(of, soon())
    one, two = await waiter(of), await waiter(of)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    assert counts(of) == (1, 1)
    of.leave(held)
    of.leave(await two)
    assert counts(of) == (0, 0)


@pytest.mark.parametrize("cancelled_first", [True, False])
async def test_cancelled_in_the_moment_of_its_turn_it_passes_the_slot_on(cancelled_first: bool) -> None:
    of = slots(1, 2)
    held = await entered(of, soon())
    one, two = await waiter(of), await waiter(of)
    if cancelled_first:
        one.cancel()
        of.leave(held)
    else:
        of.leave(held)
        one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    of.leave(await two)
    assert counts(of) == (0, 0)


async def test_a_reload_wakes_those_who_now_have_a_slot() -> None:
    of = slots(1, 2)
    held = await entered(of, soon())
    one, two = await waiter(of), await waiter(of)
    of.reload(Concurrency(2, 2))
    second = await one
    assert not two.done()
    of.reload(None)
    for ticket in (held, second, await two):
        of.leave(ticket)
    assert counts(of) == (0, 0)
    assert of.limit is None


# Both at once

LIMITS = st.builds(Concurrency, st.integers(1, 2), st.integers(0, 3), st.sampled_from([None, None, 1]))
ACTIONS = st.one_of(
    st.tuples(st.just("call"), st.sampled_from([60.0, 60.0, 0.001])),
    st.tuples(st.sampled_from(["end", "cancel"]), st.integers(0, 9)),
    st.tuples(st.sampled_from(["reload tool", "reload server"]), st.one_of(LIMITS, st.none())),
    st.tuples(st.just("wait"), st.just(0.002)),
)
STEPS = st.lists(st.tuples(ACTIONS, st.integers(0, 2)), min_size=10, max_size=30)
"""Each with the turns that the loop makes after it."""


@settings(max_examples=30, deadline=None)
@given(STEPS, LIMITS, LIMITS)
def test_whatever_happens_every_slot_comes_back(
    steps: list[tuple[tuple[str, Any], int]], of_tool: Concurrency, of_server: Concurrency
) -> None:
    """Calls that end, run out of time, or are cancelled anywhere, even in the moment that they get a slot."""

    async def play() -> None:
        tool, server = (
            Slots("the tool", of_tool, SystemClock()),
            Slots("its server", of_server, SystemClock()),
        )
        calls: list[tuple[asyncio.Task[None], asyncio.Event]] = []
        running = 0

        async def call(deadline: float, end: asyncio.Event) -> None:
            nonlocal running
            admission = Admission(tool, server, deadline, Progress())
            try:
                if not admission.enter(time.monotonic()):
                    await admission.wait()
                running += 1
                try:
                    await end.wait()
                finally:
                    running -= 1
            finally:
                admission.leave()

        for (what, value), turns in steps:
            if what == "call":
                end = asyncio.Event()
                calls.append((asyncio.create_task(call(time.monotonic() + value, end)), end))
            elif what == "end" and calls:
                calls[value % len(calls)][1].set()
            elif what == "cancel" and calls:
                calls[value % len(calls)][0].cancel()
            elif what.startswith("reload"):
                (tool if what.endswith("tool") else server).reload(value)
            elif what == "wait":
                await asyncio.sleep(value)
            for _ in range(turns):
                await asyncio.sleep(0)
            assert running <= server.in_flight <= tool.in_flight <= len(calls)
        for _, end in calls:
            end.set()
        tasks = [task for task, _ in calls]
        for ended in await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60):
            assert ended is None or isinstance(ended, (Stopped, asyncio.CancelledError)), ended
        assert (counts(tool), counts(server)) == ((0, 0), (0, 0))
        assert not tool._turns
        assert not server._turns

    asyncio.run(play())
