"""kopf, in a thread of its own, for as long as it works; and the proof that it does.

A thread, because kopf takes the whole event loop for its own: when it ends, it waits for all other tasks and
cancels them, which would cut every sidecar's connection. A watch of it can also end cleanly and not come back
(kopf#1276), or hang on a dead connection. So full lists are compared with what the watches have told: when they
have missed something, it is made good, and kopf starts anew.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, cast

import kopf

from toolpolicy_operator import handlers
from toolpolicy_operator.metrics import Metrics
from toolpolicy_operator.reconcile import Reconcile

log = logging.getLogger(__name__)

ON_ITS_WAY_S = 3.0
"""What a list has and a watch does not tell within this time was missed."""
AGAIN_S = 1.0
STOP_WITHIN_S = 2.0
SICK_AFTER = 3


class Watches:
    def __init__(self, reconcile: Reconcile, metrics: Metrics, identity: str) -> None:
        self._reconcile, self._metrics, self._identity = reconcile, metrics, identity
        self._stop = threading.Event()
        self._misses = 0

    @property
    def sick(self) -> str:
        """Why this process should be restarted, or nothing."""
        if self._misses < SICK_AFTER:
            return ""
        return f"the watches have missed changes in {self._misses} full lists in a row"

    async def run(self) -> None:
        """For ever: one life of kopf after the other."""
        loop = asyncio.get_running_loop()
        while True:
            self._stop = stop = threading.Event()
            ended: asyncio.Future[str] = loop.create_future()
            thread = threading.Thread(
                target=self._life, args=(stop, loop, ended), name="watches", daemon=True
            )
            thread.start()
            try:
                why = await asyncio.shield(ended)
            except asyncio.CancelledError:
                stop.set()
                await asyncio.wait({ended}, timeout=STOP_WITHIN_S)
                raise
            if not stop.is_set():
                log.error("the watches have ended", extra={"why": why})
                await asyncio.sleep(AGAIN_S)

    def _life(
        self, stop: threading.Event, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[str]
    ) -> None:
        def tell(handle: Callable[..., None], *what: Any) -> None:
            if not stop.is_set():
                loop.call_soon_threadsafe(handle, *what)

        why = "no reason given"
        try:
            asyncio.run(
                kopf.operator(
                    registry=handlers.registry(self._reconcile, tell),
                    settings=handlers.settings(),
                    # kopf would ask for a user name, which our numeric user has none of.
                    identity=cast("Any", self._identity),
                    standalone=True,
                    clusterwide=True,
                    stop_flag=stop,
                )
            )
        except Exception as error:  # whatever kopf dies of, it starts again
            log.debug("kopf failed", exc_info=True)
            why = f"{type(error).__name__}: {error}"[:300]
        if not loop.is_closed():
            loop.call_soon_threadsafe(_end, ended, why)

    async def check(self) -> None:
        """Has everything been told? Raises ApiError."""
        missed = await self._reconcile.missed()
        if missed:
            await asyncio.sleep(ON_ITS_WAY_S)
            missed &= await self._reconcile.missed()
        if not missed or self._reconcile.frozen:
            self._misses = 0
            return
        self._misses += 1
        self._metrics.missed.inc(len(missed))
        log.error("the watches have missed changes", extra={"missed": sorted(missed)[:20]})
        await self._reconcile.load()
        self._stop.set()


def _end(ended: asyncio.Future[str], why: str) -> None:
    if not ended.done():
        ended.set_result(why)
