"""The webhook process: HTTPS for the API server, plain HTTP for probes and metrics."""

import asyncio
import logging
import signal
import ssl
from pathlib import Path

from aiohttp import web
from cryptography import x509
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from toolpolicy_operator.api import Api
from toolpolicy_operator.webhook.admission import LIST_WITHIN_S, Admission
from toolpolicy_operator.webhook.settings import Settings

log = logging.getLogger(__name__)

MAX_REVIEW_BYTES = 8 * 1024 * 1024
"""The API server takes objects up to 3 MiB, and sends the old one along."""
IDLE_S = 120.0
"""Longer than the API server keeps an idle connection (90 s), so that it is the one that closes."""
CERTIFICATE_EVERY_S = 5.0
DRAIN_S = 5.0


async def serve(settings: Settings) -> int:
    """Until TERM. The exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    api = Api(read_s=LIST_WITHIN_S)
    admission = Admission(api, settings.sidecar)
    certificate = Certificate(settings.certificates)
    try:
        certificate.load()
    except (OSError, ValueError) as error:
        log.error("no certificate", extra={"folder": str(settings.certificates), "why": str(error)})  # noqa: TRY400 -- no bug
        return 1
    admission.metrics.certificate_expires.set_function(lambda: certificate.expires)
    runners = [
        await _listen(_reviews(admission), settings.port, certificate.tls),
        await _listen(_probes(admission), settings.health_port, None),
    ]
    reloading = asyncio.ensure_future(_reload(certificate))
    log.info("serving", extra={"port": settings.port})
    await stop.wait()
    log.info("stopping: reviews in flight are answered")
    reloading.cancel()
    for runner in runners:
        await runner.cleanup()
    api.close()
    log.info("stopped")
    return 0


class Certificate:
    """`tls.crt` and `tls.key` of a mounted Secret, in use by `tls`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded = b""
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.expires = 0.0

    def load(self) -> bool:
        """Whether it was new. Raises OSError, ValueError; what was in use stays in use.

        The kubelet swaps all files at once by a symbolic link, so both are read behind one look at it.
        """
        home = (self._folder / "tls.crt").resolve().parent
        chain = (home / "tls.crt").read_bytes()
        if chain == self._loaded:
            return False
        expires = x509.load_pem_x509_certificate(chain).not_valid_after_utc.timestamp()
        # A pair that does not fit would leave the context without a key: tried on another one first.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.tls):
            context.load_cert_chain(home / "tls.crt", home / "tls.key")
        self._loaded, self.expires = chain, expires
        return True


async def _reload(certificate: Certificate) -> None:
    while True:
        await asyncio.sleep(CERTIFICATE_EVERY_S)
        try:
            if certificate.load():
                log.info("certificate reloaded")
        except (OSError, ValueError) as error:
            log.warning("certificate not reloaded", extra={"why": str(error)})


def _reviews(admission: Admission) -> web.Application:
    app = web.Application(client_max_size=MAX_REVIEW_BYTES)
    app.router.add_post("/inject", admission.inject)
    app.router.add_post("/validate", admission.validate)
    return app


def _probes(admission: Admission) -> web.Application:
    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(admission.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", alive)
    app.router.add_get("/metrics", metrics)
    return app


async def _listen(app: web.Application, port: int, tls: ssl.SSLContext | None) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_S, keepalive_timeout=IDLE_S)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port, ssl_context=tls).start()
    return runner
