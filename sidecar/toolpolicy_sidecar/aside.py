"""Work that would hold up every other call goes aside, to a thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

INLINE_BYTES = 1024
"""Up to here no work takes two milliseconds, whatever it is on."""
LIGHT_BYTES = 4 * 1024
"""Up to here the way to a thread and back costs more than work that is light."""
SWITCH_S = 0.0005
"""How long a thread may go on when the event loop wants to run: the interpreter's own 5 ms are felt by every call."""
THREADS = 2
"""RE2 lets others run while it searches; the rest takes turns, so more would gain nothing. Threads of their own, so
that a large body keeps no name from being resolved."""

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="redaction")


async def aside(size_bytes: int | None, work: Callable[[], T], light: Callable[[], bool] | None = None) -> T:
    """The result of `work` on so many bytes; None: nobody knows how many, since they are packed. `light`: is there
    little to do? Asked only where it matters."""
    if size_bytes is not None and (
        size_bytes <= INLINE_BYTES or (size_bytes <= LIGHT_BYTES and light is not None and light())
    ):
        return work()
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
