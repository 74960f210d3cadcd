"""Which replica is the leader: a Lease, held by renewing it.

A holder's time is taken from when *this* process saw the Lease change, on its own clock, so that skewed
clocks of other nodes change nothing (the rule of client-go's leader election). A holder whose pod is gone
holds nothing, and nobody waits for it: its token was bound to the pod, and it finds the Lease taken at its
next renewal, should it still run somewhere.
"""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from toolpolicy_operator.api import Api, ApiError, core, named

log = logging.getLogger(__name__)

DURATION_S = 8
RENEW_EVERY_S = 2.0
GIVE_UP_S = 6.0
"""A holder that could not renew for this long stops and writes nothing more, before another may take over."""
LOOK_EVERY_S = 1.0

Decision = Literal["acquire", "renew", "wait"]


class Seen(NamedTuple):
    """The Lease as last read, and since when it has been exactly so."""

    holder: str
    version: str
    since: float


def decide(seen: Seen, me: str, now: float) -> Decision:
    if seen.holder == me:
        return "renew"
    if not seen.holder or now - seen.since > DURATION_S:
        return "acquire"
    return "wait"


class Lost(Exception):  # noqa: N818 -- an event in the life of a leader
    """The Lease is not ours any more: this process must stop at once."""


class Lease:
    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        me: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._me, self._clock = api, me, clock
        self._namespace, self._name = namespace, name
        self._seen = Seen("", "", 0.0)
        self._renewed = float("-inf")
        self.owner: dict[str, str] | None = None

    def held(self) -> bool:
        """Surely ours still: what a write asks first. A process that was stopped for a while learns it here."""
        return self._clock() - self._renewed < GIVE_UP_S

    async def acquire(self) -> None:
        """Returns when this process is the leader."""
        while True:
            try:
                if await self._try():
                    return
            except ApiError as error:
                if error.status != 409:
                    log.warning("lease not read", extra={"why": str(error)})
            await asyncio.sleep(LOOK_EVERY_S)

    async def hold(self) -> None:
        """Renews for ever. Raises Lost."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                async with asyncio.timeout(max(0.0, self._renewed + GIVE_UP_S - self._clock())):
                    ours = await self._try()
            except (ApiError, TimeoutError) as error:
                why = str(error) or "no answer in time"
                log.warning("lease not renewed", extra={"why": why})
                if not self.held():
                    raise Lost(why) from error
            else:
                if not ours:
                    raise Lost(f"held by {self._seen.holder!r}")

    async def release(self) -> None:
        """Hands over at once: the next look of the other replica finds no holder. From now on nothing is written."""
        self._renewed = float("-inf")
        try:
            lease = await self._api.get(self._path())
            if lease["spec"].get("holderIdentity") == self._me:
                lease["spec"]["holderIdentity"] = ""
                await self._api.replace(self._path(), lease)
        except ApiError as error:
            log.warning("lease not released", extra={"why": str(error)})

    async def _try(self) -> bool:
        """Reads, decides, writes: optimistic, by resourceVersion, so that only one of two can win."""
        began = self._clock()
        try:
            lease = await self._api.get(self._path())
        except ApiError as error:
            if error.status != 404:
                raise
            await self._api.create(
                named("coordination.k8s.io/v1", "leases", "", self._namespace), self._body(None)
            )
            self._renewed = began
            return True
        now = self._clock()
        holder, version = lease["spec"].get("holderIdentity") or "", lease["metadata"]["resourceVersion"]
        if version != self._seen.version or holder != self._seen.holder:
            self._seen = Seen(holder, version, now)
        if decide(self._seen, self._me, now) == "wait" and not await self._gone(holder):
            return False
        written = await self._api.replace(self._path(), self._body(lease))
        self._seen = Seen(self._me, written["metadata"]["resourceVersion"], now)
        self._renewed = began
        return True

    async def _gone(self, pod: str) -> bool:
        try:
            found = await self._api.get(core("pods", pod, self._namespace))
        except ApiError as error:
            return error.status == 404
        return found.get("status", {}).get("phase") in {"Succeeded", "Failed"}

    def _path(self) -> str:
        return named("coordination.k8s.io/v1", "leases", self._name, self._namespace)

    def _body(self, lease: dict[str, Any] | None) -> dict[str, Any]:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = lease["spec"] if lease else {}
        mine = old.get("holderIdentity") == self._me
        metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        if lease:
            metadata["resourceVersion"] = lease["metadata"]["resourceVersion"]
        if self.owner:
            metadata["ownerReferences"] = [self.owner]
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self._me,
                "leaseDurationSeconds": DURATION_S,
                "acquireTime": old.get("acquireTime", now) if mine else now,
                "renewTime": now,
                "leaseTransitions": old.get("leaseTransitions", 0) + (0 if mine or not lease else 1),
            },
        }
