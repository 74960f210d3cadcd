"""Writes status: the one place that does. What changed shows at once, counts follow, nothing is written twice."""

import asyncio
import datetime as dt
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from toolpolicy_api.status import Status
from toolpolicy_operator.api import Api, ApiError, policy_path
from toolpolicy_operator.fleet import Fleet
from toolpolicy_operator.index import Index
from toolpolicy_operator.verdict import document, status_of

log = logging.getLogger(__name__)

CHANGE_EVERY_S = 0.5
"""States, conditions and pods: at once, then at most this often per policy."""
COUNTS_EVERY_S = 5.0
REFRESH_EVERY_S = 60.0
"""`observedTime`, so that a reader sees that the writer lives."""
RETRY_S = 1.0
WRITES_AT_ONCE = 4
LOOK_EVERY_S = 1.0

_COUNTS = {"calls", "errors", "errorPercent", "p95Milliseconds", "observedTime"}


def without_counts(value: Any) -> Any:
    """What must show at once: everything that is no count."""
    if isinstance(value, dict):
        return {key: without_counts(item) for key, item in value.items() if key not in _COUNTS}
    if isinstance(value, list):
        return [without_counts(item) for item in value]
    return value


def wait_s(old: dict[str, Any] | None, new: dict[str, Any], since_s: float, refresh_s: float) -> float:
    """Seconds until `new` should be written, when `old` was written `since_s` ago. 0 is now."""
    if old is None:
        return 0.0
    if without_counts(old) != without_counts(new):
        return max(0.0, CHANGE_EVERY_S - since_s)
    if {**old, "observedTime": ""} != {**new, "observedTime": ""}:
        return max(0.0, COUNTS_EVERY_S - since_s)
    return max(0.0, refresh_s - since_s)


class Writer:
    def __init__(
        self, api: Api, index: Index, fleet: Fleet, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api, self._index, self._fleet, self._clock = api, index, fleet, clock
        self._written: dict[str, tuple[float, str, dict[str, Any]]] = {}
        self._due: dict[str, float] = {}
        self._busy: set[str] = set()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(WRITES_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def poke(self, namespace: str) -> None:
        """Something of this namespace changed: look at its policies now."""
        for entry in self._index.policies_of(namespace):
            self._due[entry.key] = 0.0
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            now = self._clock()
            for uid in self._fleet.fading(now):
                pod = self._index.pods.get(uid)
                if pod:
                    self.poke(pod.namespace)
            for key in [key for key, due in self._due.items() if due <= now and key not in self._busy]:
                del self._due[key]
                self._look(key, now)
            self._wake.clear()
            next_due = min(
                (due for key, due in self._due.items() if key not in self._busy), default=now + LOOK_EVERY_S
            )
            try:
                async with asyncio.timeout(max(0.0, min(next_due - self._clock(), LOOK_EVERY_S))):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _look(self, key: str, now: float) -> None:
        entry = self._index.policies.get(key)
        if entry is None:
            self._written.pop(key, None)
            return
        at, uid, old = self._written.get(key, (0.0, entry.uid, dict(entry.status) or None))
        known = old if uid == entry.uid else None
        status = status_of(
            entry._replace(status=known or entry.status),
            self._index,
            self._fleet,
            now,
            dt.datetime.now(dt.UTC),
        )
        new = document(status)
        refresh_s = REFRESH_EVERY_S * random.uniform(0.8, 1.0)  # noqa: S311 -- spreads load, keeps no secret
        pause_s = wait_s(known if key in self._written else None, new, now - at, refresh_s)
        if pause_s > 0:
            self._due[key] = min(self._due.get(key, float("inf")), now + pause_s)
            return
        self._busy.add(key)
        task = asyncio.ensure_future(self._write(key, entry.uid, new))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, key: str, uid: str, new: dict[str, Any]) -> None:
        """A merge patch: lists are replaced whole, and what is gone must be said to be null."""
        namespace, _, name = key.partition("/")
        gone = {field: None for field in _FIELDS if field not in new}
        body = {"metadata": {"uid": uid}, "status": {**gone, **new}}
        try:
            async with self._slots:
                await self._api.merge(f"{policy_path(namespace, name)}/status", body)
            self._written[key] = (self._clock(), uid, new)
            self._due.setdefault(key, self._clock() + CHANGE_EVERY_S)
        except ApiError as error:
            if error.status not in {404, 409}:
                log.warning("status not written", extra={"policy": key, "why": str(error)})
                self._due[key] = self._clock() + RETRY_S
        finally:
            self._busy.discard(key)
            self._wake.set()


_FIELDS = [info.alias or name for name, info in Status.model_fields.items()]
