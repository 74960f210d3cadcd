"""One replica of the operator, from start to end: wait for the Lease, lead, hand over."""

import asyncio
import logging
import signal
import ssl
from typing import Any, cast

import kopf

from toolpolicy_operator import handlers
from toolpolicy_operator.api import Api, ApiError, core, named
from toolpolicy_operator.channel import Channel
from toolpolicy_operator.events import Events
from toolpolicy_operator.fleet import Fleet
from toolpolicy_operator.health import Health
from toolpolicy_operator.identity import Identities
from toolpolicy_operator.index import Index
from toolpolicy_operator.lease import Lease, Lost
from toolpolicy_operator.reconcile import Reconcile
from toolpolicy_operator.settings import Settings
from toolpolicy_operator.tls.material import Material
from toolpolicy_operator.writer import Writer

log = logging.getLogger(__name__)

LEADER_LABEL = "toolpolicy.dev/leader"
RETRY_S = 1.0
CERTIFICATES_EVERY_S = 60.0
BEAT_EVERY_S = 2.0


async def run(settings: Settings) -> int:
    """Until TERM or until the Lease is lost. The exit code: 0 after TERM, 1 otherwise."""
    api, health = Api(), Health()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await health.start(settings.health_port)
    beating = asyncio.ensure_future(_beat(health))
    owner = await _owner(api, settings)
    lease = Lease(api, settings.namespace, settings.service, settings.pod, owner)
    code = 0
    try:
        if await _first(stop, lease.acquire()):
            log.info("leading", extra={"pod": settings.pod})
            health.leader.set(1)
            try:
                await _lead(settings, api, health, lease, owner, stop)
            except* Lost as lost:
                log.error("the Lease is lost: stopping", extra={"why": str(lost.exceptions[0])})  # noqa: TRY400 -- no bug
                code = 1
            if not code:
                await lease.release()
    finally:
        beating.cancel()
        await health.close()
        api.close()
    log.info("stopped")
    return code


async def _lead(  # noqa: PLR0917 -- each is one thing a leader needs
    settings: Settings,
    api: Api,
    health: Health,
    lease: Lease,
    owner: dict[str, str] | None,
    stop: asyncio.Event,
) -> None:
    index, fleet, events = Index(), Fleet(), Events(api)
    reconcile = Reconcile(api, index, fleet, events, owner)
    writer = Writer(api, index, fleet)
    material = Material(api, settings, owner)
    channel = Channel(
        index,
        fleet,
        Identities(api),
        find_pod=reconcile.find_pod,
        on_change=writer.poke,
        on_transitions=reconcile.transitions,
    )
    reconcile.push, reconcile.show = channel.poke, writer.poke
    health.connections.set_function(lambda: channel.connections)
    health.policies.set_function(lambda: len(index.policies))
    health.pods.set_function(lambda: len(index.pods))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    kopf_stops = asyncio.Event()

    async def begin() -> None:
        await _persist("certificates", material.ensure)
        material.load_into(tls)
        reconcile.trust(material.bundle)
        await _persist("first list", reconcile.resync)
        await channel.start("0.0.0.0", settings.channel_port, tls)
        await _persist("leader label", lambda: _take_service(api, settings))

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(part)
                for part in (lease.hold(), reconcile.run(), writer.run(), events.run())
            ]
            await _either(begin(), stop)
            if not stop.is_set():
                watching = kopf.operator(
                    registry=handlers.registry(reconcile),
                    settings=handlers.settings(),
                    # kopf would ask for a user name, which our numeric user has none of.
                    identity=cast("Any", settings.pod),
                    standalone=True,
                    clusterwide=True,
                    stop_flag=kopf_stops,
                )
                tasks.append(group.create_task(_watch(watching, stop)))
                tasks.append(group.create_task(_certificates(material, reconcile, tls)))
                tasks.append(group.create_task(_resync(reconcile, settings.resync_s)))
            await stop.wait()
            kopf_stops.set()
            reconcile.frozen = True
            for task in tasks:
                task.cancel()
    finally:
        await channel.close()


async def _watch(watching: Any, stop: asyncio.Event) -> None:
    """kopf catches the signals that are meant for us: when it ends, all ends."""
    await watching
    if not stop.is_set():
        log.info("the watches have ended")
        stop.set()


async def _certificates(material: Material, reconcile: Reconcile, tls: ssl.SSLContext) -> None:
    while True:
        await asyncio.sleep(CERTIFICATES_EVERY_S)
        try:
            if await material.ensure():
                material.load_into(tls)
                reconcile.trust(material.bundle)
        except ApiError as error:
            log.warning("certificates not checked", extra={"why": str(error)})


async def _resync(reconcile: Reconcile, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await reconcile.resync()
        except ApiError as error:
            log.warning("not resynced", extra={"why": str(error)})


async def _take_service(api: Api, settings: Settings) -> None:
    """The Service of the control channel selects the leader's label: ours alone carries it."""
    selector = f"labelSelector={LEADER_LABEL}%3Dtrue"
    for pod in (await api.get(f"{core('pods', '', settings.namespace)}?{selector}"))["items"]:
        if pod["metadata"]["name"] != settings.pod:
            await _label(api, settings.namespace, pod["metadata"]["name"], None)
    await _label(api, settings.namespace, settings.pod, "true")


async def _label(api: Api, namespace: str, pod: str, value: str | None) -> None:
    try:
        await api.merge(core("pods", pod, namespace), {"metadata": {"labels": {LEADER_LABEL: value}}})
    except ApiError as error:
        if error.status != 404:
            raise


async def _owner(api: Api, settings: Settings) -> dict[str, str] | None:
    """An ownerReference to the release's ClusterRole, so that uninstalling leaves nothing behind."""
    if not settings.owner:
        return None
    version = "rbac.authorization.k8s.io/v1"
    path = named(version, "clusterroles", settings.owner)
    while True:
        try:
            found = await api.get(path)
        except ApiError as error:
            log.warning("owner not read", extra={"why": str(error)})
            await asyncio.sleep(RETRY_S)
        else:
            return {
                "apiVersion": version,
                "kind": "ClusterRole",
                "name": settings.owner,
                "uid": found["metadata"]["uid"],
            }


async def _persist(what: str, attempt: Any) -> None:
    while True:
        try:
            await attempt()
        except ApiError as error:
            log.warning("not yet", extra={"what": what, "why": str(error)})
            await asyncio.sleep(RETRY_S)
        else:
            return


async def _either(work: Any, stop: asyncio.Event) -> None:
    """The work, or the wish to stop, whichever comes first. What the work raises is raised."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        stopping.cancel()


async def _first(stop: asyncio.Event, work: Any) -> bool:
    """True when the work was done before the wish to stop."""
    await _either(work, stop)
    return not stop.is_set()


async def _beat(health: Health) -> None:
    while True:
        health.beat()
        await asyncio.sleep(BEAT_EVERY_S)
