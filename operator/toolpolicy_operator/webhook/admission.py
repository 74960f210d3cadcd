"""An AdmissionReview in, one out. A bug here never blocks a pod, nor lets a bad policy in."""

import asyncio
import base64
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from toolpolicy_api import snapshot
from toolpolicy_api.policy import API_VERSION, GROUP, KIND, PLURAL
from toolpolicy_api.resolve import resolve
from toolpolicy_operator.api import Api, ApiError, named
from toolpolicy_operator.index import PolicyEntry, policy_entry
from toolpolicy_operator.webhook.inject import inject, leave
from toolpolicy_operator.webhook.metrics import Metrics
from toolpolicy_operator.webhook.sidecar import Sidecar
from toolpolicy_operator.webhook.validate import claimed_by_others, validate

log = logging.getLogger(__name__)

LIST_WITHIN_S = 2.0
"""The API server gives the injector 3 s."""
BODY_WITHIN_S = 5.0
ENTRIES_KEPT = 1024
NO_ADDRESSES = "toolpolicy: policies could not be listed, so TOOLPOLICY_<SERVER>_URL are not set"
BUG = "this is a bug of toolpolicy: see the log of its webhook"


class Admission:
    """The two endpoints, `inject` and `validate`."""

    def __init__(self, api: Api, sidecar: Sidecar) -> None:
        self._api, self._sidecar = api, sidecar
        self._entries: OrderedDict[tuple[str, int], PolicyEntry] = OrderedDict()
        self.metrics = Metrics()

    async def inject(self, http: web.Request) -> web.Response:
        return await self._review(http, "inject")

    async def validate(self, http: web.Request) -> web.Response:
        return await self._review(http, "validate")

    async def _review(self, http: web.Request, webhook: str) -> web.Response:
        began = time.monotonic()
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                body = await http.read()
            review = json.loads(body)
            request = review["request"]
            uid = request["uid"]
        except TimeoutError:
            return web.Response(status=408, text="the request did not arrive in time\n")
        except (ValueError, KeyError, TypeError, RecursionError):
            return web.Response(status=400, text="not an AdmissionReview\n")
        try:
            answer = await (self._inject(request) if webhook == "inject" else self._validate(request))
        except Exception:
            log.exception("admission failed: a bug", extra={"webhook": webhook, "uid": uid})
            self.metrics.reviews.labels(webhook, "failed").inc()
            answer = _INJECT_FAILED if webhook == "inject" else _VALIDATE_FAILED
        self.metrics.seconds.labels(webhook).observe(time.monotonic() - began)
        response = {"uid": uid, **answer}
        return web.json_response(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        )

    async def _inject(self, request: Mapping[str, Any]) -> dict[str, Any]:
        pod = request["object"]
        injection, warnings = leave(pod), []
        servers: list[snapshot.Server] = []
        if injection is None:
            labels = pod["metadata"].get("labels") or {}
            try:
                enforced = resolve(await self._policies(request["namespace"]), labels).snapshot
                servers = [
                    server
                    for policy in enforced.policies
                    for server in policy.servers
                    if server.url != snapshot.STDIO  # it has no address here either
                ]
            except (ApiError, TimeoutError) as error:
                log.warning("policies not listed", extra={"pod": _name(request), "why": _plain(error)})
                warnings.append(NO_ADDRESSES)
            injection = inject(pod, self._sidecar, servers)
        result = "injected" if injection.injected else "left"
        self.metrics.reviews.labels("inject", result).inc()
        names = [server.name for server in servers]
        log.info(result, extra={"pod": _name(request), "why": injection.why, "servers": names})
        answer: dict[str, Any] = {"allowed": True}
        if injection.patch:
            encoded = base64.b64encode(json.dumps(injection.patch).encode()).decode()
            answer |= {"patchType": "JSONPatch", "patch": encoded}
        warnings += injection.warnings
        return answer | ({"warnings": warnings} if warnings else {})

    async def _validate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        verdict = validate(request)
        self.metrics.reviews.labels("validate", "allowed" if verdict.allowed else "denied").inc()
        if verdict.policy is not None:
            warnings = await self._claims(request, verdict.policy)
            return {"allowed": True} | ({"warnings": warnings} if warnings else {})
        if verdict.allowed:
            return {"allowed": True}
        log.info("denied", extra={"policy": _name(request), "why": verdict.message})
        # The form in which the API server itself refuses: kubectl prints the causes one a line.
        causes = [
            {"reason": "FieldValueInvalid", "field": finding.field, "message": finding.message}
            for finding in verdict.findings
        ]
        status = {
            "status": "Failure",
            "code": 422,
            "reason": "Invalid",
            "message": verdict.message,
            "details": {"group": GROUP, "kind": KIND, "name": request.get("name", ""), "causes": causes},
        }
        return {"allowed": False, "status": status}

    async def _claims(self, request: Mapping[str, Any], mine: snapshot.Policy) -> list[str]:
        try:
            others = await self._policies(mine.namespace)
        except (ApiError, TimeoutError) as error:
            log.warning("policies not compared", extra={"policy": _name(request), "why": _plain(error)})
            return []
        return claimed_by_others(mine, others, new=request.get("operation") == "CREATE")

    async def _policies(self, namespace: str) -> list[snapshot.Policy]:
        """The accepted ones, as they are now. Raises ApiError, TimeoutError."""
        async with asyncio.timeout(LIST_WITHIN_S):
            listed = await self._api.get(named(API_VERSION, PLURAL, "", namespace))
        entries = (self._entry(item) for item in listed["items"])
        return [entry.compiled for entry in entries if entry.compiled]

    def _entry(self, document: Mapping[str, Any]) -> PolicyEntry:
        """Checking a large policy takes longer than admitting a pod: done once for each generation."""
        metadata = document["metadata"]
        key = metadata["uid"], metadata["generation"]
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = policy_entry(document)
            if len(self._entries) > ENTRIES_KEPT:
                self._entries.popitem(last=False)
        self._entries.move_to_end(key)
        return entry


_INJECT_FAILED: dict[str, Any] = {
    "allowed": True,
    "warnings": [f"toolpolicy: no sidecar was injected: {BUG}"],
}
_VALIDATE_FAILED: dict[str, Any] = {
    "allowed": False,
    "status": {
        "status": "Failure",
        "code": 500,
        "reason": "InternalError",
        "message": f"the policy could not be checked, so it is not taken: {BUG}",
    },
}


def _name(request: Mapping[str, Any]) -> str:
    """For the log. A pod made from a template has no name yet."""
    metadata = (request.get("object") or {}).get("metadata") or {}
    name = request.get("name") or metadata.get("name") or f"{metadata.get('generateName', '')}*"
    return f"{request.get('namespace', '')}/{name}"


def _plain(error: Exception) -> str:
    return str(error) or type(error).__name__
