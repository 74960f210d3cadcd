"""Kubernetes Events about a policy: one series per policy, tool and reason, with a count, at a bounded rate.

A thousand pods whose circuits open together are one Event that names a few of them, not a thousand writes.
"""

import asyncio
import datetime as dt
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from toolpolicy_api.channel import Transition
from toolpolicy_api.clean import clean
from toolpolicy_api.policy import API_VERSION, KIND
from toolpolicy_operator.api import Api, ApiError, core
from toolpolicy_operator.index import PodEntry, PolicyEntry
from toolpolicy_operator.metrics import Metrics
from toolpolicy_operator.verdict import rfc3339

log = logging.getLogger(__name__)

SERIES = 2000
"""Remembered at once. What is forgotten goes on with the count that the API server has."""
SERIES_EVERY_S = 2.0
PER_SECOND = 10.0
PODS_NAMED = 5
MESSAGE_CHARACTERS = 900
TEXT_CHARACTERS = 300


class Event(NamedTuple):
    """`subject` tells series of one policy and reason apart: the tool, or nothing. `pod` "": not of one pod."""

    policy: PolicyEntry
    kind: Literal["Normal", "Warning"]
    reason: str
    subject: str
    text: str
    pod: str = ""

    @property
    def name(self) -> str:
        series = hashlib.sha256(f"{self.policy.uid}/{self.reason}/{self.subject}".encode()).hexdigest()[:16]
        return f"{self.policy.name[:200]}.{series}"


_CIRCUITS: dict[str, tuple[Literal["Normal", "Warning"], str]] = {
    "Open": ("Warning", "CircuitOpened"),
    "HalfOpen": ("Normal", "CircuitHalfOpen"),
    "Closed": ("Normal", "CircuitClosed"),
    "Disabled": ("Warning", "ToolDisabled"),
}


def of_transition(policy: PolicyEntry, pod: PodEntry, transition: Transition) -> Event:
    kind, reason = _CIRCUITS[transition.after]
    key = transition.key
    text = f"{key.tool} of {key.server}: {transition.reason[:TEXT_CHARACTERS]}"
    if transition.last_error:
        text += f"; last error: {transition.last_error[:TEXT_CHARACTERS]}"
    mode = policy.compiled.mode if policy.compiled else "Enforce"
    if transition.open_until_ms:
        until = dt.datetime.fromtimestamp(transition.open_until_ms // 1000, dt.UTC)
        text += f"; {'refused' if mode == 'Enforce' else 'open'} until {rfc3339(until)}"
    if mode != "Enforce":
        text += f"; mode {mode}, so calls pass"
    return Event(policy, kind, reason, f"{key.server}/{key.tool}", text, pod.name)


def of_status(policy: PolicyEntry, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Event]:
    """What a written status says for the first time: refused, in conflict, or right again."""
    old = {each["type"]: each["reason"] for each in before.get("conditions", ())}
    for condition in after["conditions"]:
        kind, was, now = condition["type"], old.get(condition["type"]), condition["reason"]
        wrong = _WRONG.get(kind, frozenset())
        if now != was and now in wrong:
            yield Event(policy, "Warning", now, "", condition["message"])
        elif was in wrong and now == kind:
            yield Event(policy, "Normal", now, "", condition["message"])


_WRONG = {"Accepted": frozenset({"Invalid", "Conflict"}), "Programmed": frozenset({"Nacked"})}


class Series:
    """Occurrences of one Event. `count`: written so far, None while unknown."""

    def __init__(self) -> None:
        self.count: int | None = None
        self.not_before = 0.0
        self.clear()

    def clear(self) -> None:
        self.latest: Event | None = None
        self.added = 0
        self.pods: dict[str, None] = {}

    def add(self, event: Event) -> None:
        self.latest = event
        self.added += 1
        if event.pod:
            self.pods[event.pod] = None

    @property
    def message(self) -> str:
        text = self.latest.text if self.latest else ""
        if self.pods:
            named = list(self.pods)[:PODS_NAMED]
            more = len(self.pods) - len(named)
            text += f"; in {'pod' if len(self.pods) == 1 else 'pods'} {', '.join(named)}"
            text += f" and {more} more" if more else ""
        return clean(text)[:MESSAGE_CHARACTERS]


class Events:
    """Never waited for: when the API server cannot keep up, occurrences add up; too many series are dropped."""

    def __init__(self, api: Api, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._metrics, self._clock = api, metrics, clock
        self._series: dict[str, Series] = {}
        self._wake = asyncio.Event()

    def told(self, policy: PolicyEntry, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """A status was written."""
        for event in of_status(policy, before, after):
            self.post(event)

    def post(self, event: Event) -> None:
        series = self._series.get(event.name)
        if series is None:
            if len(self._series) >= SERIES and not self._make_room():
                self._metrics.events.labels("dropped").inc()
                return
            series = self._series[event.name] = Series()
        series.add(event)
        self._wake.set()

    def _make_room(self) -> bool:
        idle = next((name for name, series in self._series.items() if not series.latest), None)
        if idle:
            del self._series[idle]
        return idle is not None

    async def run(self) -> None:
        """For ever."""
        while True:
            self._wake.clear()
            now = self._clock()
            waiting = [series for series in self._series.values() if series.latest]
            due = [series for series in waiting if series.not_before <= now]
            for series in due:
                await self._write(series)
                await asyncio.sleep(1 / PER_SECOND)
            if not due:
                pause_s = min((series.not_before - now for series in waiting), default=None)
                try:
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
                    await asyncio.sleep(0)
                except TimeoutError:
                    continue

    async def _write(self, series: Series) -> None:
        """What happens meanwhile is the next occurrence. A failed write is tried again with what came since."""
        event, added, message, pods = series.latest, series.added, series.message, series.pods
        if event is None:
            return
        series.clear()
        series.not_before = self._clock() + SERIES_EVERY_S
        try:
            series.count = await self._put(event, series.count, added, message)
            self._metrics.events.labels("written").inc()
        except ApiError as error:
            self._metrics.events.labels("failed").inc()
            log.warning("event not written", extra={"policy": event.policy.key, "why": str(error)})
            if error.status not in {403, 404, 422}:  # a namespace that is going takes nothing new
                series.latest = series.latest or event
                series.added += added
                series.pods = pods | series.pods

    async def _put(self, event: Event, count: int | None, added: int, message: str) -> int:
        """The series' count. An Event expires after an hour by default: then a new series begins."""
        now = rfc3339(dt.datetime.now(dt.UTC))
        path = core("events", event.name, event.policy.namespace)
        if count is None:
            try:
                await self._api.create(
                    core("events", "", event.policy.namespace), _body(event, now, added, message)
                )
            except ApiError as error:
                if error.status != 409:
                    raise
                count = int((await self._api.get(path)).get("count") or 0)
            else:
                return added
        try:
            body = {"count": count + added, "lastTimestamp": now, "message": message}
            await self._api.merge(path, body)
        except ApiError as error:
            if error.status != 404:
                raise
            return await self._put(event, None, added, message)
        return count + added


def _body(event: Event, now: str, count: int, message: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event.name, "namespace": event.policy.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": event.policy.namespace,
            "name": event.policy.name,
            "uid": event.policy.uid,
        },
        "type": event.kind,
        "reason": event.reason,
        "message": message,
        "source": {"component": "toolpolicy-operator"},
        "reportingComponent": "toolpolicy.dev/operator",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": count,
    }
