"""A sidecar from start to end: find a configuration, open the listener, serve, drain."""

import asyncio
import gc
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from toolpolicy_sidecar.admin import Admin
from toolpolicy_sidecar.caller import CallerHeaders
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.config import bootstrap, files, persisted
from toolpolicy_sidecar.config.compiling import Compiling, changes
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.findings import Findings
from toolpolicy_sidecar.health import Health
from toolpolicy_sidecar.interception import found, trust_bundle
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.forward import ForwardListener
from toolpolicy_sidecar.listeners.pages import Pages
from toolpolicy_sidecar.listeners.reverse import ReverseListener
from toolpolicy_sidecar.listeners.transparent import TransparentListener
from toolpolicy_sidecar.log import LogRecorder
from toolpolicy_sidecar.metrics import Metrics
from toolpolicy_sidecar.no_roots import no_roots
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.plan import InvalidSnapshot
from toolpolicy_sidecar.pod import Pod
from toolpolicy_sidecar.preview import Previewed
from toolpolicy_sidecar.recorders import CallsOnly, Recorders
from toolpolicy_sidecar.settings import Address, Settings
from toolpolicy_sidecar.telemetry.exports import Exports
from toolpolicy_sidecar.telemetry.metrics import ExportMetrics, RecordMetrics, SessionMetrics
from toolpolicy_sidecar.upstream.pool import Pool
from toolpolicy_sidecar.upstream.tls import Contexts
from toolpolicy_sidecar.view import FailedCalls

if TYPE_CHECKING:
    from toolpolicy_sidecar.interception.authority import Authority

log = logging.getLogger("toolpolicy")

OPERATOR_WITHIN_S = 1.0
"""At start the operator's word is waited for this long when there is something to fall back on."""
OPERATOR_AT_ALL_S = 5.0
"""And this long when there is nothing."""
LOOK_EVERY_S = 0.5
TELEMETRY_AT_END_S = 2.0
"""What still waits to be exported has this long."""


class Sidecar:
    def __init__(self, settings: Settings, compiling: Compiling | None = None) -> None:
        """`compiling`: the policies of `settings`, if that has begun."""
        self.settings, self._compiling = settings, compiling
        clock = self._clock = SystemClock()
        limits = Limits(body_bytes=settings.max_body_bytes)
        recorders = Recorders()
        self.current = Current(recorder=recorders, clock=clock, cold_start=settings.cold_start)
        self.metrics, self.findings = Metrics(self.current), Findings(clock)
        self.health = Health(self.metrics)
        self._extra_roots = trust_bundle.extra_roots(settings.extra_roots) if settings.extra_roots else b""
        tls = Contexts(self._extra_roots.decode(), settings.client_certificates)
        self.pool = Pool(tls=tls, in_flight=self.current.in_flight)
        pod = _pod(settings)
        self.exports = Exports(
            settings.telemetry,
            clock,
            pod=pod,
            trace_id_header=settings.trace_id_header,
            redacted_content=settings.trace_redacted_content,
        )
        self.pipeline = Pipeline(
            self.pool,
            limits,
            clock,
            recorders,
            callers=CallerHeaders(settings.session_header, settings.user_header),
            tracer=self.exports.tracer,
            previewed=self._previewed,
        )
        self.listener = ReverseListener(self.current, self.pipeline, limits, clock, recorders)
        self._own_ports: set[int] = set()
        self.forward = ForwardListener(
            self.current, self.pipeline, limits, clock, recorders, own_ports=self._own_ports, tls=tls
        )
        self.transparent = TransparentListener(self.current, self.forward, limits, clock, recorders)
        self.bound: dict[str, Address] = {}
        """Where it listens, once it does: the ports that were asked for, or free ones in the place of 0."""
        self.metrics.tunnels.set_function(lambda: self.forward.tunnels.open)
        self.metrics.unpoliced.read = lambda: self.forward.unpoliced
        self.metrics.intercepted.read = lambda: self.forward.interception.opened
        self.metrics.handshakes_failed.read = lambda: self.forward.interception.handshakes_failed
        registry = self.metrics.registry
        sessions = SessionMetrics(registry, clock)
        self.current.on_install.append(
            lambda runtime: sessions.declare(policy.key for policy in runtime.policies)
        )
        registry.register(RecordMetrics(lambda: self.pipeline.begun, recorders))
        registry.register(ExportMetrics(self.exports.shippers))
        self.failed = FailedCalls()
        self._log = LogRecorder(pod)
        recorders.all += [self._log, self.metrics, self.failed, CallsOnly(sessions.call)]
        recorders.all += self.exports.recorders
        if self.exports.tracer is not None:
            recorders.of_transitions.append(self.exports.tracer.transition)
        self.recorders = recorders
        self._pages: list[Pages] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """The listener opens when it is decided what is enforced. Raises BadPolicies, OSError."""
        self.exports.start()
        await self._listen("metrics", Pages(self.health.page), self.settings.metrics)
        admin = Admin(self.current, self._clock, self.failed, self.recorders)
        await self._listen("admin", admin.pages(), self.settings.admin)
        if self.settings.policies:
            await self._from_files(self.settings.policies)
        else:
            await self._from_cluster(self.settings.operator or "")
        self._is_bound("reverse", self.settings.reverse, await self.listener.start(*self.settings.reverse))
        if self.settings.forward:
            if self.settings.trust_bundle:
                await self._intercept(self.settings.trust_bundle)
            self._is_bound("forward", self.settings.forward, await self.forward.start(*self.settings.forward))
        if self.settings.transparent_port:
            self.transparent.start(self.settings.transparent_port)
        self.health.started = True
        gc.freeze()  # what is there now stays: no collection need look at it
        gc.enable()
        agents = {"reverse", "forward"}
        listening = {name: f"{at.host}:{at.port}" for name, at in self.bound.items() if name in agents}
        if self.settings.transparent_port:
            listening["transparent"] = str(self.settings.transparent_port)
        log.info("serving", extra=listening)

    async def _intercept(self, bundle: Path) -> None:
        """The agent reads the bundle when it starts: it is there before, and holds the authority also if no policy
        needs one yet. Raises OSError."""
        born = await found.find(self.settings.authority_dir, self.settings.intercept_domains)
        roots = trust_bundle.system_roots()
        if not roots:
            log.warning("this system has no trusted certificates; the bundle has none but ours")
        trust_bundle.write(bundle, found.certificate(born), roots.rstrip() + b"\n" + self._extra_roots)
        self.forward.interception.found(lambda: _authority(born), self.current.runtime)

    async def stop(self) -> None:
        self.health.draining = True
        drain_s = self.settings.drain_s
        await asyncio.gather(self.listener.drain(drain_s), self.forward.drain(drain_s))
        await self.transparent.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pipeline.close()
        await self.pool.close()
        await self.exports.close(TELEMETRY_AT_END_S)
        for pages in self._pages:
            await pages.close()
        self._log.flush()

    async def _listen(self, name: str, pages: Pages, address: Address) -> None:
        """Raises OSError."""
        self._pages.append(pages)
        self._is_bound(name, address, await pages.start(*address))

    def _is_bound(self, name: str, address: Address, port: int) -> None:
        self.bound[name] = Address(address.host, port)
        self._own_ports.add(port)

    def _install(self, data: bytes, source: str) -> bool:
        try:
            runtime = self.current.install(data, source)
        except InvalidSnapshot as invalid:
            log.error("config refused", extra={"source": source, "why": str(invalid)})  # noqa: TRY400 -- no bug
            return False
        self._say_applied()
        return runtime is not None

    def _say_applied(self) -> None:
        runtime = self.current.runtime
        if runtime:
            generations = {policy.key: policy.generation for policy in runtime.policies}
            fields = {"hash": runtime.hash, "source": runtime.source, "generations": generations}
            log.info("config applied", extra=fields)

    # standalone
    async def _from_files(self, where: Path) -> None:
        compiling = self._compiling or Compiling(files.content(where))
        data = await compiling.result()
        if not self._install(data, "files"):
            raise files.BadPolicies([f"{where}: this release cannot enforce it; see the log"])
        self._tasks.append(asyncio.ensure_future(self._watch_files(where, compiling.found)))

    async def _watch_files(self, where: Path, known: list[tuple[Path, bytes]]) -> None:
        """A bad change keeps the last good policies, and says so once."""
        refused = 0
        self.metrics.nacks.read = lambda: refused
        async for change in changes(where, known):
            if isinstance(change, files.BadPolicies):
                refused += 1
                log.error("policies refused, the last good ones stay", extra={"why": change.lines})
            else:
                self._install(change, "files")

    def _previewed(self, previewed: Previewed) -> None:
        self.metrics.previewed(previewed)
        self.findings.previewed(previewed)

    # in a cluster
    async def _from_cluster(self, operator: str) -> None:
        # aiohttp's client is not needed without a cluster.
        with no_roots():
            from toolpolicy_sidecar.config.channel import ControlChannel, Where  # noqa: PLC0415 -- see above

        where = Where(operator, self.settings.token_file, self.settings.ca_file)
        self.recorders.all.append(CallsOnly(self.findings.call, self.findings.message))
        channel = ControlChannel(where, self.current, self._installed, self.findings.told)
        self.recorders.of_transitions.append(channel.transition)
        self.metrics.connected.set_function(lambda: channel.connected)
        self.metrics.nacks.read = lambda: channel.nacks
        self._tasks.append(asyncio.ensure_future(channel.run()))
        fallback = self._fallback()
        try:
            async with asyncio.timeout(OPERATOR_WITHIN_S if fallback else OPERATOR_AT_ALL_S):
                await channel.configured.wait()
        except TimeoutError:
            if fallback and self.current.runtime is None:
                self._install(*fallback)
            if self.current.runtime is None:
                log.warning("no configuration", extra={"cold_start": self.settings.cold_start})
                self._tasks.append(asyncio.ensure_future(self._watch_bootstrap()))

    def _installed(self, data: bytes) -> None:
        """A snapshot of the operator is in force: say so, and keep it for the next start."""
        self._say_applied()
        if self.settings.state_dir:
            try:
                persisted.save(self.settings.state_dir, data)
            except OSError as error:
                log.warning("config not persisted", extra={"why": str(error)})

    def _fallback(self) -> tuple[bytes, str] | None:
        """The last good snapshot, else the bootstrap ConfigMap."""
        if self.settings.state_dir:
            kept = persisted.load(self.settings.state_dir)
            if kept is not None:
                return kept, "persisted"
        if self.settings.bootstrap_dir:
            try:
                found = bootstrap.load(self.settings.bootstrap_dir, self.settings.labels_file)
            except bootstrap.Unusable as unusable:
                log.error("bootstrap not usable", extra={"why": str(unusable)})  # noqa: TRY400 -- no bug
            else:
                if found is not None:
                    return found, "bootstrap"
        return None

    async def _watch_bootstrap(self) -> None:
        """The kubelet may bring the ConfigMap later than the pod."""
        while self.current.runtime is None:
            await asyncio.sleep(LOOK_EVERY_S)
            fallback = self._fallback()
            if fallback and self.current.runtime is None:
                self._install(*fallback)


def _pod(settings: Settings) -> Pod:
    """An agent that nobody named is called as its pod's labels call it."""
    if settings.pod.agent is not None or settings.labels_file is None:
        return settings.pod
    try:
        labels = bootstrap.parse_labels(settings.labels_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, bootstrap.Unusable):
        return settings.pod
    named = labels.get("app.kubernetes.io/name") or labels.get("app")
    return Pod(named, settings.pod.service_account)


def _authority(born: bytes) -> "Authority":
    from toolpolicy_sidecar.interception import authority  # noqa: PLC0415 -- cryptography: only where it is used

    return authority.Authority(SystemClock(), born)


async def serve(settings: Settings, compiling: Compiling | None = None) -> int:
    """Until TERM; a second one ends it at once. `compiling` as in Sidecar. Raises BadPolicies, OSError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        if stop.is_set():
            raise SystemExit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    sidecar = Sidecar(settings, compiling)
    try:
        starting = asyncio.ensure_future(sidecar.start())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        await stopping
        starting.cancel()
    finally:
        await sidecar.stop()
    log.info("stopped")
    return 0
