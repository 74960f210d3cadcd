"""What the holder of the Lease does, and nobody else."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable

from toolpolicy_api.channel import Transition
from toolpolicy_operator.api import Api, ApiError, core
from toolpolicy_operator.channel import Channel
from toolpolicy_operator.events import Events, of_transition
from toolpolicy_operator.fleet import Fleet
from toolpolicy_operator.identity import Identities
from toolpolicy_operator.index import Index, PodEntry
from toolpolicy_operator.lease import Lease
from toolpolicy_operator.metrics import Metrics
from toolpolicy_operator.reconcile import Reconcile
from toolpolicy_operator.settings import Settings
from toolpolicy_operator.slo.publish import LOOK_EVERY_S, Rules
from toolpolicy_operator.slo.store import SAVE_EVERY_S, Budgets
from toolpolicy_operator.tls.material import Material
from toolpolicy_operator.uncovered import Uncovered
from toolpolicy_operator.watches import Watches
from toolpolicy_operator.writer import Writer

log = logging.getLogger(__name__)

LEADER_LABEL = "toolpolicy.dev/leader"
READ_S = 5.0
RETRY_S = 1.0
CERTIFICATES_EVERY_S = 60.0
UNCOVERED_EVERY_S = 60.0


class Leader:
    """Everything is made here and wired: who hears of a change, and what it then does."""

    def __init__(self, settings: Settings, lease: Lease, metrics: Metrics) -> None:
        self._settings, self._lease, self._metrics = settings, lease, metrics
        self._api = Api(read_s=READ_S, may_write=lease.held)
        self._reviews = Api(read_s=READ_S)
        self._index, self._fleet = Index(), Fleet()
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._material = Material(self._api, settings, metrics)
        self._events = Events(self._api, metrics)
        self._reconcile = Reconcile(self._api, self._index, self._fleet)
        self._budgets = Budgets(self._api, self._index)
        self._rules = None
        if settings.rules is not None:
            self._rules = Rules(self._api, self._index, settings.rules, settings.resync_s)
        self._writer = Writer(
            self._api, self._index, self._fleet, metrics, self._budgets, on_written=self._events.told
        )
        self._channel = Channel(
            self._index,
            self._fleet,
            Identities(self._reviews),
            metrics,
            find_pod=self._reconcile.find_pod,
            on_state=self._writer.poke,
            on_counts=self._writer.count,
            on_transition=self._transition,
            on_tools=self._budgets.hear,
        )
        self._reconcile.push = self._channel.poke
        self._reconcile.show = self._writer.poke
        self._reconcile.part = self._channel.part
        self._uncovered = Uncovered(self._api, self._index)
        self.watches = Watches(self._reconcile, metrics, settings.pod)
        metrics.connections.set_function(lambda: self._channel.connections)
        metrics.policies.set_function(lambda: len(self._index.policies))
        metrics.pods.set_function(lambda: len(self._index.pods))
        metrics.conditions.read = self._writer.conditions
        metrics.uncovered.read = lambda: self._uncovered.pods

    def owned_by(self, owner: dict[str, str]) -> None:
        """`owner`: an ownerReference for all that this process makes."""
        self._lease.owner = self._material.owner = self._reconcile.owner = self._budgets.owner = owner
        if self._rules:
            self._rules.owner = owner

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then the Lease is released. Raises Lost, in a group with whatever else went wrong."""
        async with asyncio.TaskGroup() as group:
            holding = group.create_task(self._lease.hold())
            work = group.create_task(self._work())
            await stop.wait()
            holding.cancel()
            await self._lease.release()
            work.cancel()

    async def close(self) -> None:
        await self._channel.close()
        self._api.close()
        self._reviews.close()

    async def _work(self) -> None:
        """The channel opens once it is known what it should say."""
        await _persist("certificates", self._certificates)
        await _persist("first list", self._reconcile.load)
        await _persist("error budgets", self._budgets.load)
        await self._channel.start("0.0.0.0", self._settings.channel_port, self._tls)
        log.info("sidecars may connect", extra={"policies": len(self._index.policies)})
        async with asyncio.TaskGroup() as group:
            for endless in (self.watches, self._reconcile, self._writer, self._events):
                group.create_task(endless.run())
            await _persist("leader label", self._take_service)
            for every_s, what, task in (
                (CERTIFICATES_EVERY_S, "certificates", self._certificates),
                (UNCOVERED_EVERY_S, "pods without a sidecar", self._uncovered.look),
                (min(SAVE_EVERY_S, self._settings.resync_s), "error budgets", self._budgets.save),
                (self._settings.resync_s, "watches", self.watches.check),
                (self._settings.resync_s, "bootstraps", self._reconcile.repair),
                (self._settings.resync_s, "leader label", self._take_service),
            ):
                group.create_task(_regularly(every_s, what, task))
            if self._rules:
                group.create_task(_regularly(LOOK_EVERY_S, "burn-rate alerts", self._rules.look))
            await _persist("bootstraps", self._reconcile.repair)

    async def _certificates(self) -> None:
        if await self._material.ensure():
            self._material.load_into(self._tls)
            self._reconcile.trust(self._material.bundle)

    async def _take_service(self) -> None:
        """The Service of the control channel selects the leader's label: ours alone carries it."""
        space, mine = self._settings.namespace, self._settings.pod
        labelled = await self._api.list(
            core("pods", "", space), metadata_only=True, labelSelector=f"{LEADER_LABEL}=true"
        )
        names = {pod["metadata"]["name"] for pod in labelled}
        for name in names - {mine}:
            await self._label(name, None)
        if mine not in names:
            await self._label(mine, "true")

    async def _label(self, pod: str, value: str | None) -> None:
        body = {"metadata": {"labels": {LEADER_LABEL: value}}}
        try:
            await self._api.merge(core("pods", pod, self._settings.namespace), body)
        except ApiError as error:
            if error.status != 404:
                raise

    def _transition(self, pod: PodEntry, transition: Transition) -> None:
        policy = self._index.policies.get(transition.key.policy)
        if policy:
            self._events.post(of_transition(policy, pod, transition))


async def _persist(what: str, attempt: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await attempt()
        except ApiError as error:
            log.warning("not yet", extra={"what": what, "why": str(error)})
            await asyncio.sleep(RETRY_S)
        else:
            return


async def _regularly(every_s: float, what: str, task: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await task()
        except ApiError as error:
            log.warning("not checked", extra={"what": what, "why": str(error)})
