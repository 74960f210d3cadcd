"""Events and full lists → index → everything that follows from a change: pushes, status, bootstrap ConfigMaps.

kopf tells what the watches see, in order. A full list (`load`) is the whole truth at the start; `missed` finds
what the watches have not told, since a watch can end or hang unnoticed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from toolpolicy_api.policy import GROUP, PLURAL
from toolpolicy_operator import bootstrap
from toolpolicy_operator.api import POLICIES, Api, ApiError, core, named
from toolpolicy_operator.fleet import Fleet
from toolpolicy_operator.identity import Caller
from toolpolicy_operator.index import INJECT_LABEL, INJECTED_LABEL, Index, PodEntry
from toolpolicy_operator.pace import retry_s

log = logging.getLogger(__name__)

DELETED = "DELETED"
LISTS: Mapping[str, tuple[str, dict[str, str]]] = {
    "policies": (f"{POLICIES}/{PLURAL}", {}),
    "pods": (
        core("pods"),
        {
            "labelSelector": f"{INJECTED_LABEL}=true",
            "fieldSelector": "status.phase!=Succeeded,status.phase!=Failed",
        },
    ),
    "namespaces": (core("namespaces"), {"labelSelector": f"{INJECT_LABEL}=enabled"}),
}


class Reconcile:
    """`push` makes a namespace's sidecars look at what they should enforce, `show` its policies' status,
    `part` ends the connection of a pod that is gone."""

    def __init__(
        self, api: Api, index: Index, fleet: Fleet, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api, self._index, self._fleet, self._clock = api, index, fleet, clock
        self._vanished: dict[tuple[str, str], str] = {}
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._bundle = ""
        self._written: dict[str, dict[str, Any]] = {}
        self.owner: dict[str, str] | None = None
        self.push: Callable[[str], None] = lambda _: None
        self.show: Callable[[str], None] = lambda _: None
        self.part: Callable[[str], None] = lambda _: None
        self.frozen = False
        """The CRD is going: policies vanish because toolpolicy does, and agents keep what they have."""

    # what kopf tells
    def policy(self, event: str | None, document: Any) -> None:
        metadata = document["metadata"]
        if event == DELETED:
            self._vanish(metadata["namespace"], metadata["name"], metadata["uid"])
        elif self._index.put_policy(document):
            self.frozen = False
            self._changed(metadata["namespace"])

    def pod(self, event: str | None, document: Any) -> None:
        uid, namespace = document["metadata"]["uid"], document["metadata"]["namespace"]
        changed = self._index.drop_pod(uid) if event == DELETED else self._index.put_pod(document)
        self._pod_changed(uid, namespace, changed=changed)

    def namespace(self, event: str | None, document: Any) -> None:
        metadata = document["metadata"]
        changed = (
            self._index.drop_namespace(metadata) if event == DELETED else self._index.put_namespace(document)
        )
        if changed:
            self._soil(metadata["name"])

    # what sidecars tell
    async def find_pod(self, caller: Caller) -> PodEntry | None:
        """A pod that has just started may call before the watch has shown it."""
        try:
            document = await self._api.get(core("pods", caller.pod, caller.namespace))
        except ApiError:
            return None
        if document["metadata"]["uid"] == caller.uid and self._index.put_pod(document, listed=True):
            self.show(caller.namespace)
        return self._index.pods.get(caller.uid)

    # full lists
    async def load(self) -> None:
        """The whole truth, now. Raises ApiError."""
        known = {uid: pod.namespace for uid, pod in self._index.pods.items()}
        known_policies = dict(self._index.policies)
        known_namespaces = set(self._index.namespaces)
        found = {
            kind: await self._api.list(path, metadata_only=kind != "policies", **query)
            for kind, (path, query) in LISTS.items()
        }
        for document in found["namespaces"]:
            if self._index.put_namespace(document, listed=True):
                self._soil(document["metadata"]["name"])
        for name in known_namespaces - {document["metadata"]["name"] for document in found["namespaces"]}:
            self._index.namespaces.pop(name, None)
            self._soil(name)
        for document in found["policies"]:
            if self._index.put_policy(document, listed=True):
                self._changed(document["metadata"]["namespace"])
        listed = {document["metadata"]["uid"] for document in found["policies"]}
        for entry in known_policies.values():
            if entry.uid not in listed:
                self._vanish(entry.namespace, entry.name, entry.uid)
        for document in found["pods"]:
            metadata = document["metadata"]
            changed = self._index.put_pod(document, listed=True)
            self._pod_changed(metadata["uid"], metadata["namespace"], changed=changed)
        for uid in known.keys() - {document["metadata"]["uid"] for document in found["pods"]}:
            self._pod_changed(uid, known[uid], changed=self._index.drop_pod(uid))
        await self._recall()

    async def missed(self) -> set[str]:
        """What the API server has and the index has not, or the other way round: kind, uid and generation. Some
        of it may be on its way; what is still missed a moment later is not. Raises ApiError."""
        before = self._known()
        found = {
            kind: {
                document["metadata"]["uid"]: (
                    document["metadata"].get("generation", 0) if kind == "policies" else 0
                )
                for document in await self._api.list(path, metadata_only=True, **query)
                if kind != "namespaces" or "deletionTimestamp" not in document["metadata"]
            }
            for kind, (path, query) in LISTS.items()
        }
        after = self._known()
        wrong = set[str]()
        for kind, listed in found.items():
            for uid in listed.keys() | before[kind].keys() | after[kind].keys():
                settled = before[kind].get(uid) == after[kind].get(uid)
                if settled and after[kind].get(uid) != listed.get(uid):
                    wrong.add(f"{kind}/{uid}@{listed.get(uid)}")
        return wrong

    def _known(self) -> dict[str, dict[str, int]]:
        return {
            "policies": {entry.uid: entry.generation for entry in self._index.policies.values()},
            "pods": dict.fromkeys(self._index.pods, 0),
            "namespaces": dict.fromkeys(self._index.namespaces.values(), 0),
        }

    async def repair(self) -> None:
        """Bootstrap ConfigMaps that someone has edited, deleted or left behind. Raises ApiError."""
        self._written.clear()  # each is written once more; an apply that changes nothing costs nothing
        for name in self._index.namespaces:
            self._soil(name)
        for name in await bootstrap.namespaces(self._api) - set(self._index.namespaces):
            self._soil(name)

    async def _recall(self) -> None:
        """An invalid policy keeps its last good version, also over a restart of ours: the bootstrap has it."""
        invalid = {entry.namespace for entry in self._index.policies.values() if entry.compiled is None}
        for namespace in invalid:
            self._index.recall((await bootstrap.read(self._api, namespace)).policies)

    def trust(self, bundle: str) -> None:
        """The channel's CA bundle, which every bootstrap ConfigMap carries."""
        if bundle != self._bundle:
            self._bundle = bundle
            for name in self._index.namespaces:
                self._soil(name)

    async def run(self) -> None:
        """Drops policies that are gone and writes bootstrap ConfigMaps, for ever. What fails waits alone."""
        while True:
            self._wake.clear()
            now = self._clock()
            if self._vanished and self._due.get("", 0.0) <= now:
                await self._try("", self._drop_vanished())
            for namespace in [name for name, due in self._due.items() if name and due <= now]:
                del self._due[namespace]
                await self._try(namespace, self._bootstrap(namespace))
            pause_s = min(self._due.values(), default=float("inf")) - self._clock()
            try:
                async with asyncio.timeout(None if pause_s == float("inf") else max(0.0, pause_s)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _try(self, what: str, work: Any) -> None:
        try:
            await work
        except ApiError as error:
            times = self._failures[what] = self._failures.get(what, 0) + 1
            self._due[what] = self._clock() + retry_s(times)
            log.warning("not done yet", extra={"what": what or "policies that vanished", "why": str(error)})
        else:
            self._failures.pop(what, None)

    async def _drop_vanished(self) -> None:
        """Deleting the CRD deletes every policy: that is no wish of their authors. Raises ApiError when in doubt."""
        self._due.pop("", None)
        going = await self._uninstalling()
        if going and not self.frozen:
            log.warning("the CRD is being deleted: agents keep the policies they have")
        self.frozen = going
        vanished, self._vanished = self._vanished, {}
        for (namespace, name), uid in vanished.items():
            entry = self._index.policies.get(f"{namespace}/{name}")
            if not going and entry and entry.uid == uid and self._index.drop_policy(namespace, name):
                self._changed(namespace)

    async def _uninstalling(self) -> bool:
        path = named("apiextensions.k8s.io/v1", "customresourcedefinitions", f"{PLURAL}.{GROUP}")
        try:
            return "deletionTimestamp" in (await self._api.get(path))["metadata"]
        except ApiError as error:
            if error.status == 404:
                return True
            raise

    async def _bootstrap(self, namespace: str) -> None:
        if self.frozen or not self._bundle:
            return
        if namespace not in self._index.namespaces:
            self._written.pop(namespace, None)
            await self._unless_going(bootstrap.remove(self._api, namespace))
            return
        body = bootstrap.config_map(namespace, self._index.bootstrap(namespace), self._bundle, self.owner)
        if self._written.get(namespace) != body:
            await self._unless_going(bootstrap.write(self._api, body))
            self._written[namespace] = body

    async def _unless_going(self, write: Any) -> None:
        """A namespace that is going takes nothing new: there is nothing left to do."""
        try:
            await write
        except ApiError as error:
            if error.status not in {403, 404, 409}:
                raise
            log.info("bootstrap not written", extra={"why": str(error)})

    def _vanish(self, namespace: str, name: str, uid: str) -> None:
        self._vanished[namespace, name] = uid
        self._wake.set()

    def _pod_changed(self, uid: str, namespace: str, *, changed: bool) -> None:
        if uid not in self._index.pods:
            self._fleet.forget(uid)
            self.part(uid)
        if changed:
            self.push(namespace)
            self.show(namespace)

    def _changed(self, namespace: str) -> None:
        self.push(namespace)
        self.show(namespace)
        if namespace in self._index.namespaces:
            self._soil(namespace)

    def _soil(self, namespace: str) -> None:
        self._due.setdefault(namespace, 0.0)
        self._wake.set()
