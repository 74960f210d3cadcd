"""Who is calling: a sidecar's ServiceAccount token, checked by the API server."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from toolpolicy_api.channel import AUDIENCE
from toolpolicy_operator.api import Api

POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
REMEMBERED_S = 5.0
"""A reconnect storm does not become a storm of TokenReviews; a revoked token is refused seconds later."""
REMEMBERED = 4096
TOKEN_CHARACTERS = 8192
WAITING = 64
"""Callers that wait for a TokenReview at once."""
WAITING_PER_PEER = 4
"""Of these, from one address, which is one pod, or one node that hides its pods' addresses."""


class Caller(NamedTuple):
    """The pod that the token is bound to, by the API server's word."""

    namespace: str
    pod: str
    uid: str


class Refused(Exception):  # noqa: N818 -- a verdict on the caller
    """Not a sidecar of this cluster; the message says why, without the token."""


class Busy(Exception):  # noqa: N818 -- a verdict on the moment
    """Too many callers wait already, or too many from this address: a later try may succeed."""


class Identities:
    """A caller that sends nonsense without end takes up its own share of the TokenReviews, and no other's."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._waiting: Counter[str] = Counter()

    async def of(self, authorization: str | None, peer: str) -> Caller:
        """Raises Refused, Busy, or ApiError when the API server cannot be asked."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused("no bearer token")
        if len(token) > TOKEN_CHARACTERS or token.count(".") != 2:
            raise Refused("the bearer token is no ServiceAccount token")
        digest = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        remembered = self._known.get(digest)
        if remembered and remembered[0] > now:
            return remembered[1]
        if self._waiting[peer] >= WAITING_PER_PEER or self._waiting.total() >= WAITING:
            raise Busy("too many callers wait for a TokenReview; try again")
        self._waiting[peer] += 1
        try:
            caller = await self._review(token)
        finally:
            self._waiting[peer] -= 1
            if not self._waiting[peer]:
                del self._waiting[peer]
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[digest] = (now + REMEMBERED_S, caller)
        return caller

    async def _review(self, token: str) -> Caller:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        status = (await self._api.create("/apis/authentication.k8s.io/v1/tokenreviews", body))["status"]
        if not status.get("authenticated"):
            raise Refused("the API server does not accept the token")
        if AUDIENCE not in (status.get("audiences") or ()):
            raise Refused(f"the token is not for the audience {AUDIENCE}")
        user = status.get("user") or {}
        extra = user.get("extra") or {}
        kind, _, account = str(user.get("username", "")).partition(":serviceaccount:")
        names: list[str] = extra.get(POD_NAME) or []
        uids: list[str] = extra.get(POD_UID) or []
        if kind != "system" or len(names) != 1 or len(uids) != 1:
            raise Refused("the token is not bound to a pod")
        return Caller(account.partition(":")[0], names[0], uids[0])
