"""Events and full lists → index → everything that follows from a change: pushes, status, bootstrap ConfigMaps."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from toolpolicy_api.channel import Transition
from toolpolicy_api.policy import GROUP, PLURAL
from toolpolicy_operator import bootstrap
from toolpolicy_operator.api import POLICIES, Api, ApiError, core, named
from toolpolicy_operator.events import Events, of_transition
from toolpolicy_operator.fleet import Fleet
from toolpolicy_operator.identity import Caller
from toolpolicy_operator.index import INJECTED_LABEL, Index, PodEntry

log = logging.getLogger(__name__)

DELETED = "DELETED"
RETRY_S = 2.0


class Reconcile:
    """`push` makes a namespace's sidecars look at what they should enforce, `show` its policies' status."""

    def __init__(
        self, api: Api, index: Index, fleet: Fleet, events: Events, owner: dict[str, str] | None
    ) -> None:
        self._api, self._index, self._fleet, self._events, self._owner = api, index, fleet, events, owner
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._bundle = ""
        self._written: dict[str, dict[str, Any]] = {}
        self.push: Callable[[str], None] = lambda _: None
        self.show: Callable[[str], None] = lambda _: None
        self.frozen = False
        """The CRD is going: policies vanish because toolpolicy does, and agents keep what they have."""

    # what kopf tells
    async def policy(self, event: str | None, document: Any) -> None:
        metadata = document["metadata"]
        if event == DELETED:
            await self._policy_gone(metadata["namespace"], metadata["name"])
        elif self._index.put_policy(document):
            self._changed(metadata["namespace"])

    async def pod(self, event: str | None, document: Any) -> None:
        metadata = document["metadata"]
        if event == DELETED:
            self._fleet.forget(metadata["uid"])
            changed = self._index.drop_pod(metadata["uid"])
        else:
            changed = self._index.put_pod(document)
        if changed:
            self.push(metadata["namespace"])
            self.show(metadata["namespace"])

    async def namespace(self, event: str | None, document: Any) -> None:
        name = document["metadata"]["name"]
        changed = (
            self._index.drop_namespace(name) if event == DELETED else self._index.put_namespace(document)
        )
        if changed:
            self._soil(name)

    # what sidecars tell
    def transitions(self, pod: PodEntry, transitions: tuple[Transition, ...]) -> None:
        for transition in transitions:
            policy = self._index.policies.get(transition.key.policy)
            if policy:
                self._events.post(of_transition(policy, pod, transition))

    async def find_pod(self, caller: Caller) -> PodEntry | None:
        """A pod that has just started may call before the watch has shown it."""
        try:
            document = await self._api.get(core("pods", caller.pod, caller.namespace))
        except ApiError:
            return None
        if document["metadata"]["uid"] == caller.uid and self._index.put_pod(document):
            self.show(caller.namespace)
        return self._index.pods.get(caller.uid)

    # full lists
    async def resync(self) -> None:
        """The whole truth, for what a watch may have missed. Raises ApiError."""
        pods = await self._api.get(f"{core('pods')}?labelSelector={INJECTED_LABEL}%3Dtrue")
        namespaces = await self._api.get(core("namespaces"))
        policies = await self._api.get(f"{POLICIES}/{PLURAL}")
        listed = {f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in policies["items"]}
        for entry in [entry for entry in self._index.policies.values() if entry.key not in listed]:
            await self._policy_gone(entry.namespace, entry.name)
        present = {item["metadata"]["uid"] for item in pods["items"]}
        for uid in [uid for uid in self._index.pods if uid not in present]:
            self._index.drop_pod(uid)
            self._fleet.forget(uid)
        for handle, items in ((self.policy, policies), (self.pod, pods), (self.namespace, namespaces)):
            for item in items["items"]:
                await handle(None, item)
        self._written.clear()  # someone may have edited or deleted a ConfigMap: write each once more
        for name in self._index.namespaces:
            self._soil(name)

    def trust(self, bundle: str) -> None:
        """The channel's CA bundle, which every bootstrap ConfigMap carries."""
        if bundle != self._bundle:
            self._bundle = bundle
            for name in self._index.namespaces:
                self._soil(name)

    async def run(self) -> None:
        """Writes bootstrap ConfigMaps, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                namespace = self._dirty.pop()
                try:
                    await self._bootstrap(namespace)
                except ApiError as error:
                    # A namespace that is going takes nothing new (403, 404, 409): there is nothing left to do.
                    if error.status not in {403, 404, 409}:
                        log.warning(
                            "bootstrap not written", extra={"namespace": namespace, "why": str(error)}
                        )
                        self._dirty.add(namespace)
                        await asyncio.sleep(RETRY_S)

    async def _bootstrap(self, namespace: str) -> None:
        if self.frozen or not self._bundle:
            return
        if namespace not in self._index.namespaces:
            self._written.pop(namespace, None)
            await bootstrap.remove(self._api, namespace)
            return
        body = bootstrap.config_map(namespace, self._index.bootstrap(namespace), self._bundle, self._owner)
        if self._written.get(namespace) != body:
            await bootstrap.write(self._api, body)
            self._written[namespace] = body

    async def _policy_gone(self, namespace: str, name: str) -> None:
        if await self._uninstalling():
            if not self.frozen:
                log.warning("the CRD is being deleted: agents keep the policies they have")
            self.frozen = True
            return
        if self._index.drop_policy(namespace, name):
            self._changed(namespace)

    async def _uninstalling(self) -> bool:
        """Deleting the CRD deletes every policy: that is no wish of their authors. In doubt, yes."""
        path = named("apiextensions.k8s.io/v1", "customresourcedefinitions", f"{PLURAL}.{GROUP}")
        try:
            return "deletionTimestamp" in (await self._api.get(path))["metadata"]
        except ApiError:
            return True

    def _changed(self, namespace: str) -> None:
        self.push(namespace)
        self.show(namespace)
        self._soil(namespace)

    def _soil(self, namespace: str) -> None:
        self._dirty.add(namespace)
        self._wake.set()
