"""The ledgers of all policies, and the ConfigMap in each namespace that keeps them over restarts of the operator."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from toolpolicy_api import status
from toolpolicy_api.channel import ToolKey, ToolReport
from toolpolicy_operator.api import Api, ApiError, core
from toolpolicy_operator.index import Index, PolicyEntry
from toolpolicy_operator.slo.budget import tool_slo
from toolpolicy_operator.slo.ledger import Ledger

log = logging.getLogger(__name__)

NAME = "toolpolicy-budgets"
LABELS = {"app.kubernetes.io/managed-by": "toolpolicy"}
SAVE_EVERY_S = 60.0
LIMIT_BYTES = 900 * 1024
"""Of a ConfigMap's 1 MiB."""


class Book(msgspec.Struct):
    """Of one policy: its uid, and a ledger for each `server/tool`."""

    uid: str
    ledgers: dict[str, Ledger] = {}


class Budgets:
    """`clock`: Unix seconds. Counts are of tools whose policy has an slo for them, and of no other."""

    def __init__(self, api: Api, index: Index, clock: Callable[[], float] = time.time) -> None:
        self._api, self._index, self._clock = api, index, clock
        self._books: dict[str, Book] = {}
        self._written: dict[str, dict[str, str]] = {}
        self.owner: dict[str, str] | None = None

    def hear(self, pod: str, reports: Iterable[ToolReport]) -> None:
        """`pod`: its uid. Only what the pod may speak of."""
        now = self._clock()
        for report in reports:
            entry = self._index.policies.get(report.key.policy)
            if entry and report.totals and report.key in entry.slos:
                self._ledger(entry, report.key, now).hear(pod, report.totals, now)

    def shown(self, entry: PolicyEntry) -> Mapping[ToolKey, status.ToolSlo]:
        now, found = self._clock(), {}
        for key, slo in entry.slos.items():
            ledger = self._ledger(entry, key, now)
            ledger.roll(now, slo.window_s)
            found[key] = tool_slo(slo, ledger, now)
        return found

    async def load(self) -> None:
        """What was saved last; of what cannot be read, nothing. Raises ApiError."""
        found = await self._api.list(core("configmaps"), fieldSelector=f"metadata.name={NAME}")
        for document in found:
            namespace, data = document["metadata"]["namespace"], document.get("data") or {}
            self._written[namespace] = data
            for name, text in data.items():
                try:
                    self._books[f"{namespace}/{name}"] = msgspec.json.decode(text, type=Book)
                except ValueError as error:
                    extra = {"policy": f"{namespace}/{name}", "why": str(error)}
                    log.warning("error budgets not readable: they begin anew", extra=extra)

    async def save(self) -> None:
        """Raises ApiError, after all namespaces were tried."""
        self._tidy()
        wanted: dict[str, dict[str, str]] = {namespace: {} for namespace in self._written}
        for key, book in self._books.items():
            namespace, name = key.split("/")
            wanted.setdefault(namespace, {})[name] = _text(book)
        failed = None
        for namespace, data in wanted.items():
            try:
                await self._save(namespace, _small(data))
            except ApiError as error:
                if error.status not in {403, 404, 409}:
                    failed = error
                else:  # a namespace that is going takes nothing new
                    log.info("error budgets not saved", extra={"namespace": namespace, "why": str(error)})
        if failed:
            raise failed

    async def _save(self, namespace: str, data: dict[str, str]) -> None:
        if not data:
            try:
                await self._api.delete(core("configmaps", NAME, namespace))
            except ApiError as error:
                if error.status != 404:
                    raise
            self._written.pop(namespace, None)
        elif self._written.get(namespace) != data:
            await self._api.apply(core("configmaps", NAME, namespace), self._config_map(namespace, data))
            self._written[namespace] = data

    def _config_map(self, namespace: str, data: dict[str, str]) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": NAME, "namespace": namespace, "labels": LABELS}
        if self.owner:
            metadata["ownerReferences"] = [self.owner]
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def _ledger(self, entry: PolicyEntry, key: ToolKey, now: float) -> Ledger:
        book = self._books.get(entry.key)
        if book is None or book.uid != entry.uid:
            book = self._books[entry.key] = Book(entry.uid)
        ledger = book.ledgers.setdefault(f"{key.server}/{key.tool}", Ledger(now))
        ledger.measure(entry.slos[key].p95_ms)
        return ledger

    def _tidy(self) -> None:
        """An invalid policy keeps what it has: its objectives may not be known now."""
        for key, book in list(self._books.items()):
            entry = self._index.policies.get(key)
            if entry is None or entry.uid != book.uid:
                del self._books[key]
                continue
            if not entry.findings:
                wanted = {f"{each.server}/{each.tool}" for each in entry.slos}
                book.ledgers = {name: ledger for name, ledger in book.ledgers.items() if name in wanted}
            for ledger in book.ledgers.values():
                ledger.forget(ledger.heard.keys() - self._index.pods.keys())
            if not book.ledgers:
                del self._books[key]


def _text(book: Book) -> str:
    return msgspec.json.encode(book).decode()


def _small(data: dict[str, str]) -> dict[str, str]:
    """As much of it as fits. First, what pods said last is left out: then a restart loses what comes before their next
    word. Where that is not enough, the largest books are: of those policies, a restart loses everything."""
    if _size_bytes(data) <= LIMIT_BYTES:
        return data
    log.warning(
        "error budgets are too many to be saved whole: a restart of the operator will lose some calls"
    )
    small = {}
    for name, text in data.items():
        book = msgspec.json.decode(text, type=Book)
        for ledger in book.ledgers.values():
            ledger.heard.clear()
        small[name] = _text(book)
    left_out = []
    while _size_bytes(small) > LIMIT_BYTES:
        left_out.append(max(small, key=lambda name: len(small[name])))
        del small[left_out[-1]]
    if left_out:
        extra = {"policies": left_out}
        log.warning("error budgets not saved: a restart of the operator begins them anew", extra=extra)
    return small


def _size_bytes(data: dict[str, str]) -> int:
    return sum(len(name) + len(text) for name, text in data.items())
