"""The event loop that does not wait."""

import asyncio
import time

import pytest

from toolpolicy_sidecar.simulate.virtual_time import StalledError, VirtualLoop


def test_a_day_takes_no_time_and_timers_fire_in_their_order() -> None:
    heard: list[tuple[str, float]] = []

    async def say(word: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        heard.append((word, asyncio.get_running_loop().time()))

    async def talk() -> None:
        await asyncio.gather(say("last", 86_400), say("first", 0.5), say("second", 3600))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await say("never", 11)

    began = time.monotonic()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(talk())
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        assert loop.monotonic() == pytest.approx(86_410)
        assert loop.unix_ms() == pytest.approx(86_410_000, abs=1)
    assert heard == [("first", 0.5), ("second", 3600), ("last", 86_400)]
    assert time.monotonic() - began < 60


def test_what_never_comes_is_not_waited_for() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        waiting = wait()
        with pytest.raises(StalledError):
            runner.run(waiting)
        waiting.close()
