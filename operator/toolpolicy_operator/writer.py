"""Writes status: the one place that does. What changed shows at once, counts follow, nothing is written twice.

A merge patch, not server-side apply: there is one writer (the Lease holder), lists are replaced whole, and a
merge patch needs no managed fields, which would be as large as the status itself. The policy's uid goes along,
so that a status never lands on a successor of the same name.
"""

import asyncio
import datetime as dt
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from toolpolicy_api.status import Status
from toolpolicy_operator.api import Api, ApiError, policy_path
from toolpolicy_operator.document import document
from toolpolicy_operator.fleet import Fleet
from toolpolicy_operator.index import Index, PolicyEntry
from toolpolicy_operator.metrics import ConditionNow, Metrics
from toolpolicy_operator.pace import LATER_S, Bucket, retry_s, urgent, wait_s
from toolpolicy_operator.slo.store import Budgets
from toolpolicy_operator.verdict import status_of

log = logging.getLogger(__name__)

REFRESH_EVERY_S = 60.0
"""`observedTime`, so that a reader sees that the writer lives."""
LOOK_EVERY_S = 0.1
"""Of one policy: a thousand pods that confirm a change are looked at together."""
SETTLE_S = 3.0
"""A new leader gives the sidecars this long to come back before it calls unknown what its predecessor knew."""
WRITES_AT_ONCE = 4
IDLE_S = 1.0


class Written(NamedTuple):
    """What stands on the policy of this uid, and since when."""

    at: float
    uid: str
    status: dict[str, Any]


class Writer:
    """`on_written` gets the entry, the status before and the status now."""

    def __init__(
        self,
        api: Api,
        index: Index,
        fleet: Fleet,
        metrics: Metrics,
        budgets: Budgets,
        *,
        on_written: Callable[[PolicyEntry, dict[str, Any], dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._index, self._fleet, self._metrics = api, index, fleet, metrics
        self._budgets, self._on_written, self._clock = budgets, on_written, clock
        self._began = clock()
        self._bucket = Bucket(self._began)
        self._written: dict[str, Written] = {}
        self._looked: dict[str, float] = {}
        self._failed: dict[str, tuple[int, float]] = {}
        self._due: dict[str, float] = {}
        self._busy: set[str] = set()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def poke(self, namespace: str) -> None:
        """States of this namespace changed: look at its policies now."""
        for entry in self._index.policies_of(namespace):
            self._look_at(entry.key, self._looked.get(entry.key, 0.0) + LOOK_EVERY_S)
        self._wake.set()

    def count(self, namespace: str) -> None:
        """Only counts have moved: in time."""
        for entry in self._index.policies_of(namespace):
            written = self._written.get(entry.key)
            self._look_at(entry.key, written.at + LATER_S if written else 0.0)

    def conditions(self) -> Iterator[ConditionNow]:
        """As they were last written."""
        for key, written in self._written.items():
            if key in self._index.policies:
                for condition in written.status["conditions"]:
                    yield ConditionNow(key, condition["type"], condition["status"], condition["reason"])

    async def run(self) -> None:
        """For ever."""
        while True:
            self._wake.clear()
            now = self._clock()
            for uid in self._fleet.fading(now):
                pod = self._index.pods.get(uid)
                if pod:
                    self.poke(pod.namespace)
            for key in sorted(self._due, key=self._due.__getitem__):
                if self._due[key] > now or len(self._busy) >= WRITES_AT_ONCE:
                    break
                if key not in self._busy:
                    self._look(key, now)
            await self._sleep()

    async def _sleep(self) -> None:
        """Until something is due, something changes, or a moment has passed."""
        free = len(self._busy) < WRITES_AT_ONCE
        waiting = (due for key, due in self._due.items() if free and key not in self._busy)
        pause_s = min(waiting, default=float("inf")) - self._clock()
        try:
            async with asyncio.timeout(max(0.0, min(pause_s, IDLE_S))):
                await self._wake.wait()
        except TimeoutError:
            return

    def _look_at(self, key: str, due: float) -> None:
        """After a failure, not before its retry."""
        _, retry_at = self._failed.get(key, (0, 0.0))
        self._due[key] = max(retry_at, min(due, self._due.get(key, float("inf"))))

    def _look(self, key: str, now: float) -> None:
        """Writes, or says when to look again."""
        del self._due[key]
        entry = self._index.policies.get(key)
        if entry is None:
            for memory in (self._written, self._looked, self._failed):
                memory.pop(key, None)
            return
        self._looked[key] = now
        try:
            self._write_or_wait(entry, now)
        except Exception:  # a bug of ours in one policy must not silence the others
            log.exception("a status cannot be made", extra={"policy": key})
            self._look_at(key, now + REFRESH_EVERY_S)

    def _write_or_wait(self, entry: PolicyEntry, now: float) -> None:
        key = entry.key
        written = self._written.get(key)
        before = written.status if written and written.uid == entry.uid else dict(entry.status)
        status = status_of(
            entry._replace(status=before),
            self._index,
            self._fleet,
            now,
            dt.datetime.now(dt.UTC),
            slos=self._budgets.shown(entry),
        )
        if written is None and before and self._settling(status, now):
            self._look_at(key, now + LOOK_EVERY_S)
            return
        new = document(status)
        pause_s = 0.0
        if written and written.uid == entry.uid:
            refresh_s = REFRESH_EVERY_S * random.uniform(0.8, 1.0)  # noqa: S311 -- spreads load, keeps no secret
            pause_s = wait_s(before, new, now - written.at, refresh_s)
        pause_s = pause_s or self._bucket.take(now, urgent=urgent(before, new))
        if pause_s > 0:
            self._look_at(key, now + pause_s)
            return
        self._busy.add(key)
        task = asyncio.ensure_future(self._write(entry, before, new))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _settling(self, status: Status, now: float) -> bool:
        pods = status.pods
        return now - self._began < SETTLE_S and pods is not None and pods.connected < pods.matched

    async def _write(self, entry: PolicyEntry, before: dict[str, Any], new: dict[str, Any]) -> None:
        gone = {field: None for field in _FIELDS if field not in new}
        body = {"metadata": {"uid": entry.uid}, "status": {**gone, **new}}
        key = entry.key
        try:
            await self._api.merge(f"{policy_path(entry.namespace, entry.name)}/status", body)
        except ApiError as error:
            self._metrics.status_writes.labels("failed").inc()
            if error.status not in {404, 409}:  # gone, or another one now: the watch tells
                log.warning("status not written", extra={"policy": key, "why": str(error)})
                times = self._failed.get(key, (0, 0.0))[0] + 1
                self._failed[key] = times, self._clock() + retry_s(times)
                self._look_at(key, 0.0)
        else:
            self._metrics.status_writes.labels("written").inc()
            self._failed.pop(key, None)
            self._written[key] = Written(self._clock(), entry.uid, new)
            self._look_at(key, self._clock() + LOOK_EVERY_S)
            self._on_written(entry, before, new)
        finally:
            self._busy.discard(key)
            self._wake.set()


_FIELDS = [info.alias or name for name, info in Status.model_fields.items()]
