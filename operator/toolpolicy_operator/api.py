"""The API server, from asyncio: each request runs in a thread, bounded in number and in time.

Each `Api` has threads and connections of its own: what may be held up by others (TokenReviews, for instance,
whose number sidecars decide) gets one for itself, and what must never wait (the Lease) too.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlencode

from kubernetes import client, config

from toolpolicy_api import trust
from toolpolicy_api.policy import GROUP, PLURAL, VERSION

CONNECT_S, READ_S = 3.0, 10.0
RETRIES = 1
"""Once more, for a connection that the server has closed just now. A hanging server keeps a thread that long."""
THREADS = 8
PAGE = 500
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
FIELD_MANAGER = "toolpolicy-operator"
POLICIES = f"/apis/{GROUP}/{VERSION}"


class ApiError(Exception):
    """The API server said no (`status` is its HTTP status), or could not be reached (`status` 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status or 'unreachable'}: {message}")
        self.status = status


class Api:
    """`read_s`: how long one attempt may take; a process that ends waits for those in flight.

    `may_write` is asked before every write: a leader whose Lease has run out writes nothing more.
    """

    def __init__(
        self, read_s: float = READ_S, threads: int = THREADS, may_write: Callable[[], bool] = lambda: True
    ) -> None:
        try:
            config.load_incluster_config()
        except config.ConfigException:
            config.load_kube_config()
        settings = client.Configuration.get_default_copy()
        settings.retries = RETRIES
        self._client = client.ApiClient(settings)
        if settings.verify_ssl:
            pool = self._client.rest_client.pool_manager.connection_pool_kw
            pool["ssl_context"] = trust.servers(cafile=settings.ssl_ca_cert)
        self._timeout_s = (min(CONNECT_S, read_s), read_s)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="api")
        self._may_write = may_write

    async def get(self, path: str) -> Any:
        return await self._run("GET", path, None, "application/json")

    async def list(self, path: str, *, metadata_only: bool = False, **query: str) -> list[Any]:
        """All items, in pages. `metadata_only`: without spec and status, which are the bulk."""
        accept = METADATA_ONLY if metadata_only else "application/json"
        items: list[Any] = []
        token = ""
        while True:
            page = {**query, "limit": str(PAGE), **({"continue": token} if token else {})}
            found = await self._run("GET", f"{path}?{urlencode(page)}", None, "application/json", accept)
            items += found["items"] or ()  # a list of metadata alone is null when it is empty
            token = found["metadata"].get("continue") or ""
            if not token:
                return items

    async def create(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._run("POST", path, body, "application/json")

    async def replace(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._run("PUT", path, body, "application/json")

    async def merge(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._run("PATCH", path, body, "application/merge-patch+json")

    async def json_patch(self, path: str, body: Sequence[Mapping[str, Any]]) -> Any:
        return await self._run("PATCH", path, body, "application/json-patch+json")

    async def apply(self, path: str, body: Mapping[str, Any]) -> Any:
        """Server-side apply, by force: these objects are the operator's alone."""
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        return await self._run("PATCH", f"{path}?{query}", body, "application/apply-patch+yaml")

    async def delete(self, path: str) -> Any:
        return await self._run("DELETE", path, None, "application/json")

    async def _run(
        self, method: str, path: str, body: Any, content_type: str, accept: str = "application/json"
    ) -> Any:
        if method != "GET" and not self._may_write():
            raise ApiError(0, "not the leader any more: nothing is written")
        loop = asyncio.get_running_loop()
        headers = {"Accept": accept, "Content-Type": content_type}
        return await loop.run_in_executor(self._threads, self._request, method, path, body, headers)

    def _request(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            response = self._client.call_api(
                method,
                self._client.configuration.host + path,
                header_params=headers,
                body=body,
                _request_timeout=self._timeout_s,
            )
            data = response.read()
        except client.ApiException as error:
            raise ApiError(error.status or 0, str(error.reason)) from error
        except Exception as error:  # urllib3 has a dozen of its own; all mean the same here
            raise ApiError(0, str(error)) from error
        if response.status >= 400:
            raise ApiError(response.status, _message(data))
        return json.loads(data) if data else None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data[:300].decode(errors="replace")


def core(kind: str, name: str = "", namespace: str = "") -> str:
    """Path of a core/v1 object or list."""
    return _path("/api/v1", kind, name, namespace)


def named(group_version: str, kind: str, name: str = "", namespace: str = "") -> str:
    """Path of an object or list of a named API group."""
    return _path(f"/apis/{group_version}", kind, name, namespace)


def policy_path(namespace: str, name: str) -> str:
    return _path(POLICIES, PLURAL, name, namespace)


def _path(base: str, kind: str, name: str, namespace: str) -> str:
    where = f"/namespaces/{quote(namespace)}" if namespace else ""
    return f"{base}{where}/{kind}" + (f"/{quote(name)}" if name else "")
