"""Certificates in Secrets: what there is, what is due, what to write. `plan` decides, `Material` carries.

Rotation breaks no connection: a new CA is published beside the old one for a while before anything is
signed with it, and the old one stays in the bundle until every leaf of it has gone.
"""

import base64
import datetime as dt
import logging
import ssl
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from toolpolicy_operator.api import Api, ApiError, core, named
from toolpolicy_operator.metrics import Metrics
from toolpolicy_operator.settings import Settings
from toolpolicy_operator.tls.certificates import Pair, due, ends, fits, issued, make_ca, make_leaf, usable

log = logging.getLogger(__name__)


PUBLISHED_FIRST = dt.timedelta(hours=1)
"""A new CA is trusted everywhere (the kubelet takes minutes to renew a mounted bundle) before it signs."""


class Keep(NamedTuple):
    """The authority: the pair that signs, the one to come, and the earlier certificate that is still trusted."""

    ca: Pair
    upcoming: Pair | None = None
    previous: str = ""

    @property
    def bundle(self) -> str:
        return self.ca.certificate + (self.upcoming.certificate if self.upcoming else "") + self.previous


class Plan(NamedTuple):
    """What should be; equal to what is when nothing is due."""

    authority: Keep
    leaves: dict[str, Pair]


def plan(
    authority: Keep | None, leaves: dict[str, Pair | None], names: dict[str, list[str]], now: dt.datetime
) -> Plan:
    """`leaves` and `names` by Secret name."""
    authority = _authority(authority, now)
    good = {}
    for name, wanted in names.items():
        leaf = leaves.get(name)
        keep = leaf is not None and usable(leaf, now) and not due(leaf.certificate, now)
        if leaf is None or not keep or not fits(leaf.certificate, authority.ca.certificate, wanted):
            leaf = make_leaf(authority.ca, wanted, now)
        good[name] = leaf
    return Plan(authority, good)


def _authority(kept: Keep | None, now: dt.datetime) -> Keep:
    if kept is None or not usable(kept.ca, now):
        return Keep(make_ca("toolpolicy", now))
    if kept.upcoming and not usable(kept.upcoming, now):
        kept = kept._replace(upcoming=None)
    if kept.upcoming and now >= issued(kept.upcoming.certificate) + PUBLISHED_FIRST:
        return Keep(kept.upcoming, previous=kept.ca.certificate)
    if kept.upcoming is None and due(kept.ca.certificate, now):
        return kept._replace(upcoming=make_ca("toolpolicy", now))
    return kept


class Material:
    """Reads and writes the Secrets of the release, and patches the CA bundle into its webhooks."""

    def __init__(self, api: Api, settings: Settings, metrics: Metrics) -> None:
        self._api, self._settings, self._metrics = api, settings, metrics
        self.owner: dict[str, str] | None = None
        self.bundle = ""
        self._leaf: Pair | None = None

    @property
    def names(self) -> dict[str, list[str]]:
        space = self._settings.namespace
        return {
            f"{service}-tls": [
                f"{service}.{space}.svc",
                f"{service}.{space}.svc.cluster.local",
                f"{service}.{space}",
            ]
            for service in (self._settings.service, self._settings.webhook_service)
        }

    async def ensure(self) -> bool:
        """Makes what is missing or due. True when the operator's own certificate or the bundle has changed."""
        before = (self.bundle, self._leaf)
        own = f"{self._settings.service}-tls"
        if self._settings.certificates == "given":
            secret = await self._secret(own)
            if secret is None:
                raise ApiError(404, f"Secret {own} is not there yet; is cert-manager running?")
            if not secret.get("ca.crt"):
                raise ApiError(0, f"Secret {own} has no ca.crt; use an issuer of cert-manager that is a CA")
            self.bundle, self._leaf = secret["ca.crt"], Pair(secret["tls.crt"], secret["tls.key"])
            return before != (self.bundle, self._leaf)
        ca_name = f"{self._settings.release}-ca"
        kept = await self._secret(ca_name)
        authority = _kept(kept) if kept else None
        leaves: dict[str, Pair | None] = {}
        published: dict[str, str] = {}
        for name in self.names:
            secret = await self._secret(name)
            leaves[name] = Pair(secret["tls.crt"], secret["tls.key"]) if secret else None
            published[name] = secret.get("ca.crt", "") if secret else ""
        wanted = plan(authority, leaves, self.names, dt.datetime.now(dt.UTC))
        if wanted.authority != authority:
            await self._write(ca_name, "Opaque", _stored(wanted.authority))
        for name, leaf in wanted.leaves.items():
            if leaf != leaves[name] or published[name] != wanted.authority.bundle:
                data = {"tls.crt": leaf.certificate, "tls.key": leaf.key, "ca.crt": wanted.authority.bundle}
                await self._write(name, "kubernetes.io/tls", data)
        self.bundle, self._leaf = wanted.authority.bundle, wanted.leaves[own]
        await self._webhooks()
        return before != (self.bundle, self._leaf)

    def load_into(self, context: ssl.SSLContext) -> None:
        """New handshakes get the new certificate; the listener stays. ssl reads files only.

        Raises ApiError for a pair that does not fit together; the context then serves what it had.
        """
        if self._leaf is None:
            raise RuntimeError("ensure() comes first")
        with tempfile.TemporaryDirectory() as folder:
            both = Path(folder) / "tls.pem"
            both.touch(mode=0o600)
            both.write_text(self._leaf.certificate + self._leaf.key, encoding="ascii")
            try:
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(both)
                context.load_cert_chain(both)
                self._metrics.certificate_expires.set(ends(self._leaf.certificate).timestamp())
            except (ssl.SSLError, ValueError) as error:
                raise ApiError(0, f"the certificate cannot be served: {error}") from error

    async def _secret(self, name: str) -> dict[str, str] | None:
        try:
            secret = await self._api.get(core("secrets", name, self._settings.namespace))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        try:
            data = {key: base64.b64decode(text).decode() for key, text in (secret.get("data") or {}).items()}
        except ValueError:  # no text: someone has edited it
            return None
        return data if data.get("tls.crt") and data.get("tls.key") else None

    async def _write(self, name: str, kind: str, data: dict[str, str]) -> None:
        metadata: dict[str, Any] = {"name": name, "namespace": self._settings.namespace}
        if self.owner:
            metadata["ownerReferences"] = [self.owner]
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": encoded}
        await self._api.apply(core("secrets", name, self._settings.namespace), body)
        log.info("certificate written", extra={"secret": name})

    async def _webhooks(self) -> None:
        """The chart ships the configurations without a bundle, so that no upgrade ever wipes it."""
        wanted = base64.b64encode(self.bundle.encode()).decode()
        for kind, suffix in (
            ("mutatingwebhookconfigurations", "injector"),
            ("validatingwebhookconfigurations", "validator"),
        ):
            path = named("admissionregistration.k8s.io/v1", kind, f"{self._settings.release}-{suffix}")
            try:
                found = await self._api.get(path)
            except ApiError as error:
                if error.status == 404:
                    continue
                raise
            stale = [
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": wanted}
                for index, hook in enumerate(found.get("webhooks") or ())
                if hook["clientConfig"].get("caBundle") != wanted
            ]
            if stale:
                await self._api.json_patch(path, stale)


def _kept(secret: dict[str, str]) -> Keep:
    upcoming = Pair(secret["next.crt"], secret["next.key"]) if secret.get("next.crt") else None
    return Keep(Pair(secret["tls.crt"], secret["tls.key"]), upcoming, secret.get("previous.crt", ""))


def _stored(keep: Keep) -> dict[str, str]:
    upcoming = keep.upcoming or Pair("", "")
    return {
        "tls.crt": keep.ca.certificate,
        "tls.key": keep.ca.key,
        "next.crt": upcoming.certificate,
        "next.key": upcoming.key,
        "previous.crt": keep.previous,
    }
