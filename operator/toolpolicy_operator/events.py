"""Kubernetes Events about a policy: one series per policy, tool and reason, with a count, at a bounded rate."""

import asyncio
import datetime as dt
import hashlib
import logging
from typing import Literal, NamedTuple

from toolpolicy_api.channel import Transition
from toolpolicy_api.policy import API_VERSION, KIND
from toolpolicy_operator.api import Api, ApiError, core
from toolpolicy_operator.index import PodEntry, PolicyEntry
from toolpolicy_operator.verdict import rfc3339

log = logging.getLogger(__name__)

WAITING = 1000
PER_SECOND = 10.0
MESSAGE_CHARACTERS = 900


class Event(NamedTuple):
    """`subject` tells series of one policy and reason apart: the tool, or nothing."""

    policy: PolicyEntry
    kind: Literal["Normal", "Warning"]
    reason: str
    subject: str
    message: str

    @property
    def name(self) -> str:
        series = hashlib.sha256(f"{self.policy.uid}/{self.reason}/{self.subject}".encode()).hexdigest()[:16]
        return f"{self.policy.name[:200]}.{series}"


_REASONS: dict[str, tuple[Literal["Normal", "Warning"], str]] = {
    "Open": ("Warning", "CircuitOpened"),
    "HalfOpen": ("Normal", "CircuitHalfOpen"),
    "Closed": ("Normal", "CircuitClosed"),
    "Disabled": ("Warning", "ToolDisabled"),
}


def of_transition(policy: PolicyEntry, pod: PodEntry, transition: Transition) -> Event:
    kind, reason = _REASONS[transition.after]
    key = transition.key
    message = f"{key.tool} of {key.server} in pod {pod.name}: {transition.reason}"
    if transition.last_error:
        message += f"; last error: {transition.last_error}"
    if transition.open_until_ms:
        until = dt.datetime.fromtimestamp(transition.open_until_ms / 1000, dt.UTC)
        message += f"; refused until {rfc3339(until)}"
    return Event(policy, kind, reason, f"{key.server}/{key.tool}", message[:MESSAGE_CHARACTERS])


class Events:
    """A bounded queue: when the API server cannot keep up, Events are dropped and counted, never waited for."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._queue: asyncio.Queue[Event] = asyncio.Queue(WAITING)
        self._counts: dict[str, int] = {}
        self.dropped = 0

    def post(self, event: Event) -> None:
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """For ever."""
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except ApiError as error:
                log.warning("event not written", extra={"policy": event.policy.key, "why": str(error)})
            await asyncio.sleep(1 / PER_SECOND)

    async def _write(self, event: Event) -> None:
        now = rfc3339(dt.datetime.now(dt.UTC))
        path = core("events", event.name, event.policy.namespace)
        count = self._counts.get(event.name, 0)
        if count:
            body = {"count": count + 1, "lastTimestamp": now, "message": event.message}
            try:
                await self._api.merge(path, body)
                self._counts[event.name] = count + 1
            except ApiError as error:
                if error.status != 404:
                    raise
                # It has expired (an hour by default): a new series begins.
            else:
                return
        try:
            await self._api.create(core("events", "", event.policy.namespace), _body(event, now))
            self._counts[event.name] = 1
        except ApiError as error:
            if error.status != 409:
                raise
            existing = await self._api.get(path)
            self._counts[event.name] = int(existing.get("count") or 1)
            await self._write(event)


def _body(event: Event, now: str) -> dict[str, object]:
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
        "message": event.message,
        "source": {"component": "toolpolicy-operator"},
        "reportingComponent": "toolpolicy.dev/operator",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
