"""The webhook process: HTTPS, `/inject` and `/validate`. A bug here never blocks a pod, nor lets a bad policy in."""

import argparse
import asyncio
import base64
import json
import logging
import os
import signal
import ssl
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from toolpolicy_api.policy import PLURAL
from toolpolicy_api.resolve import selects
from toolpolicy_operator.api import POLICIES, Api, ApiError
from toolpolicy_operator.index import policy_entry
from toolpolicy_operator.webhook.inject import Sidecar, inject
from toolpolicy_operator.webhook.validate import validate

log = logging.getLogger(__name__)

MAX_REVIEW_BYTES = 8 * 1024 * 1024
LIST_WITHIN_S = 2.0
CERTIFICATE_EVERY_S = 10.0
DRAIN_S = 3.0


class Settings(NamedTuple):
    port: int
    health_port: int
    certificates: Path
    log_level: str
    sidecar: Sidecar


def parse(argv: list[str]) -> Settings:
    """Exits with 2 and one clear line when something is wrong."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy webhook", description="Injects sidecars, validates policies."
    )

    def flag(name: str, text: str, default: str | None = None) -> None:
        variable = f"TOOLPOLICY_{name.upper().replace('-', '_')}"
        given = os.environ.get(variable, default)
        parser.add_argument(
            f"--{name}",
            default=given,
            required=given is None,
            help=f"{text} (also {variable}; default {default})",
        )

    flag("image", "the sidecars' image")
    flag(
        "operator",
        "where sidecars find the operator, such as wss://toolpolicy-operator.toolpolicy-system.svc:443",
    )
    flag("certificates", "folder with tls.crt and tls.key", "/etc/toolpolicy/tls")
    flag("port", "where the API server connects", "8443")
    flag("health-port", "metrics and probes", "9090")
    flag("log-level", "debug, info, warning or error", "info")
    flag("cold-start", "what a sidecar does that has found no policy anywhere: Deny", "Deny")
    flag("pull-policy", "imagePullPolicy of the sidecars", "IfNotPresent")
    flag("sidecar-resources", "requests and limits of the sidecars, as JSON", "{}")
    flag("sidecar-log-level", "log level of the sidecars", "info")
    flag("max-body-bytes", "largest body that a sidecar reads", str(10 * 1024 * 1024))
    options = parser.parse_args(argv)
    try:
        resources = json.loads(options.sidecar_resources)
        ports = int(options.port), int(options.health_port)
        max_body_bytes = int(options.max_body_bytes)
    except ValueError as wrong:
        parser.error(str(wrong))
    sidecar = Sidecar(
        image=options.image,
        operator=options.operator,
        cold_start=options.cold_start,
        log_level=options.sidecar_log_level,
        pull_policy=options.pull_policy,
        resources=resources,
        max_body_bytes=max_body_bytes,
        version=version("toolpolicy"),
    )
    return Settings(*ports, Path(options.certificates), options.log_level, sidecar)


class Admission:
    """The two endpoints. `servers_of` names the tool servers of a pod's policies; it may raise ApiError."""

    def __init__(self, api: Api, sidecar: Sidecar) -> None:
        self._api, self._sidecar = api, sidecar
        self.registry = CollectorRegistry()
        self._reviews = Counter(
            "toolpolicy_webhook_reviews_total",
            "Admission reviews.",
            ["webhook", "result"],
            registry=self.registry,
        )

    def routes(self, app: web.Application) -> None:
        app.router.add_post("/inject", lambda request: self._review(request, "inject"))
        app.router.add_post("/validate", lambda request: self._review(request, "validate"))

    async def _review(self, http: web.Request, which: str) -> web.Response:
        try:
            review = await http.json()
            request = review["request"]
            uid = request["uid"]
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400, text="not an AdmissionReview\n")
        try:
            answer = await self._inject(request) if which == "inject" else self._validate(request)
        except Exception:
            log.exception("admission failed", extra={"webhook": which, "uid": uid})
            answer = self._failed(which)
        body = {
            "apiVersion": review.get("apiVersion"),
            "kind": "AdmissionReview",
            "response": {"uid": uid, **answer},
        }
        return web.json_response(body)

    async def _inject(self, request: Mapping[str, Any]) -> dict[str, Any]:
        pod = request["object"]
        # A pod made from a template has no namespace of its own yet.
        namespace = request.get("namespace") or pod["metadata"].get("namespace") or "default"
        warnings: list[str] = []
        try:
            servers = await self._servers(namespace, pod["metadata"].get("labels") or {})
        except (ApiError, TimeoutError) as error:
            log.warning("policies not listed", extra={"namespace": namespace, "why": str(error)})
            servers = []
            warnings.append(
                "toolpolicy: policies could not be listed, so TOOLPOLICY_<SERVER>_URL are not set"
            )
        injection = inject(pod, self._sidecar, servers)
        result = "injected" if injection.patch else "left"
        self._reviews.labels("inject", result).inc()
        name = pod["metadata"].get("name") or pod["metadata"].get("generateName", "")
        log.info(result, extra={"pod": f"{namespace}/{name}", "why": injection.why})
        answer: dict[str, Any] = {"allowed": True}
        if injection.patch:
            encoded = base64.b64encode(json.dumps(injection.patch).encode()).decode()
            answer |= {"patchType": "JSONPatch", "patch": encoded}
        said = [*warnings, *injection.warnings]
        return answer | ({"warnings": said} if said else {})

    async def _servers(self, namespace: str, labels: Mapping[str, str]) -> list[str]:
        async with asyncio.timeout(LIST_WITHIN_S):
            listed = await self._api.get(f"{POLICIES}/namespaces/{namespace}/{PLURAL}")
        entries = (policy_entry(item) for item in listed["items"])
        return sorted(
            {
                server.name
                for entry in entries
                if entry.compiled and selects(entry.compiled.selector, labels)
                for server in entry.compiled.servers
            }
        )

    def _validate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        verdict = validate(request)
        self._reviews.labels("validate", "allowed" if verdict.allowed else "denied").inc()
        if verdict.allowed:
            return {"allowed": True}
        causes = [
            {"reason": "FieldValueInvalid", "field": finding.field, "message": finding.message}
            for finding in verdict.findings
        ]
        status = {
            "code": 422,
            "reason": "Invalid",
            "message": verdict.message,
            "details": {"causes": causes},
        }
        return {"allowed": False, "status": status}

    def _failed(self, which: str) -> dict[str, Any]:
        self._reviews.labels(which, "failed").inc()
        if which == "inject":
            return {
                "allowed": True,
                "warnings": ["toolpolicy: no sidecar was injected, because of a bug; see its log"],
            }
        return {
            "allowed": False,
            "status": {"code": 500, "message": "the policy could not be checked: a bug"},
        }


async def serve(settings: Settings) -> int:
    """Until TERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    api = Api()
    admission = Admission(api, settings.sidecar)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(tls, settings.certificates)
    app = web.Application(client_max_size=MAX_REVIEW_BYTES)
    admission.routes(app)
    runners = [
        await _listen(app, settings.port, tls),
        await _listen(_probes(admission), settings.health_port, None),
    ]
    reloading = asyncio.ensure_future(_reload(tls, settings.certificates))
    log.info("serving", extra={"port": settings.port})
    await stop.wait()
    reloading.cancel()
    for runner in runners:
        await runner.cleanup()
    api.close()
    log.info("stopped")
    return 0


def _probes(admission: Admission) -> web.Application:
    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(admission.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", alive)
    app.router.add_get("/metrics", metrics)
    return app


async def _listen(app: web.Application, port: int, tls: ssl.SSLContext | None) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_S)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port, ssl_context=tls).start()
    return runner


def _load(tls: ssl.SSLContext, folder: Path) -> None:
    tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")


async def _reload(tls: ssl.SSLContext, folder: Path) -> None:
    """The kubelet swaps the mounted files when the Secret changes."""
    known = (folder / "tls.crt").read_bytes()
    while True:
        await asyncio.sleep(CERTIFICATE_EVERY_S)
        try:
            found = (folder / "tls.crt").read_bytes()
            if found != known:
                _load(tls, folder)
                known = found
                log.info("certificate reloaded")
        except (OSError, ssl.SSLError) as error:
            log.warning("certificate not reloaded", extra={"why": str(error)})
