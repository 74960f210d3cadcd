"""One replica of the operator, from start to end: wait for the Lease, lead, hand over."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from typing import Any

from toolpolicy_operator.api import Api, ApiError, named
from toolpolicy_operator.health import Health
from toolpolicy_operator.leader import Leader
from toolpolicy_operator.lease import Lease, Lost
from toolpolicy_operator.metrics import Metrics
from toolpolicy_operator.settings import Settings

log = logging.getLogger(__name__)

LEASE_READ_S = 2.0
LEASE_THREADS = 2
RELEASE_WITHIN_S = 3.0
RETRY_S = 1.0


async def run(settings: Settings) -> int:
    """Until TERM or until the Lease is lost. The exit code: 0 after TERM, 1 otherwise."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    health = Health(metrics.registry)
    # Renewing waits for nothing that others do.
    api = Api(read_s=LEASE_READ_S, threads=LEASE_THREADS)
    lease = Lease(api, settings.namespace, settings.service, settings.pod)
    leader = Leader(settings, lease, metrics)
    await health.start(settings.health_port)
    code = 0
    try:
        await _unless(stop, _acquire(lease, leader, api, settings))
        if not stop.is_set():
            code = await _lead(leader, lease, health, metrics, stop)
    finally:
        await health.close()
        api.close()
    log.info("stopped", extra={"code": code})
    return code


async def _acquire(lease: Lease, leader: Leader, api: Api, settings: Settings) -> None:
    """What a replica makes is owned by the release's ClusterRole from the first moment: an uninstall that is
    under way leaves nothing behind."""
    if settings.owner:
        leader.owned_by(await _owner(api, settings.owner))
    await lease.acquire()


async def _owner(api: Api, name: str) -> dict[str, str]:
    """An ownerReference. Waits while the ClusterRole is not there."""
    version = "rbac.authorization.k8s.io/v1"
    while True:
        try:
            found = await api.get(named(version, "clusterroles", name))
        except ApiError as error:
            log.warning("owner not read", extra={"why": str(error)})
            await asyncio.sleep(RETRY_S)
        else:
            uid = found["metadata"]["uid"]
            return {"apiVersion": version, "kind": "ClusterRole", "name": name, "uid": uid}


async def _lead(leader: Leader, lease: Lease, health: Health, metrics: Metrics, stop: asyncio.Event) -> int:
    log.info("leading")
    metrics.leader.set(1)
    health.sick = lambda: leader.watches.sick
    code = 0
    try:
        await leader.run(stop)
    except* Lost as lost:
        log.error("the Lease is lost: stopping", extra={"why": str(lost.exceptions[0])})  # noqa: TRY400 -- no bug
        code = 1
    except* Exception:
        log.exception("a part of the leader failed: stopping")
        code = 1
    finally:
        metrics.leader.set(0)
        await _within(RELEASE_WITHIN_S, lease.release())
        await leader.close()
    return code


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """The work, or the wish to stop, whichever comes first. What the work raises is raised."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        stopping.cancel()


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("lease not released", extra={"why": "no answer in time"})
