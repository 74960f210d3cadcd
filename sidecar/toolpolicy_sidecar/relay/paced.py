"""Waiting for what comes next, but not in silence for long while something is held back."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def paced(
    source: AsyncIterator[T], holds: Callable[[], bool], silence_s: float
) -> AsyncGenerator[T | None, None]:
    """All of `source`; and None once, when for so long nothing comes while `holds` says yes. Close it: what is being
    waited for is given up then."""

    async def following() -> T | None:
        return await anext(source, None)

    while True:
        if not holds():
            item = await following()
        else:
            waiting = asyncio.ensure_future(following())
            try:
                if not (await asyncio.wait({waiting}, timeout=silence_s))[0]:
                    yield None
                item = await waiting
            finally:
                if waiting.cancel():
                    with suppress(asyncio.CancelledError):
                        await waiting
        if item is None:
            return
        yield item
