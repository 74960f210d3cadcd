"""The PrometheusRules of all policies, where the cluster has that kind: written as policies change, made good as others
edit or delete them, gone with the last slo."""

import logging
import time
from collections.abc import Callable
from typing import Any

from toolpolicy_operator.api import Api, ApiError, named
from toolpolicy_operator.index import Index, PolicyEntry
from toolpolicy_operator.slo.rule import GROUP_VERSION, MANAGED, PLURAL, Style, prometheus_rule, rule_name

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
"""A look at what has not changed asks nobody."""

_Where = tuple[str, str]
"""Namespace and name."""


class Rules:
    """`clock`: monotonic seconds. `look` is to be called again and again."""

    def __init__(
        self,
        api: Api,
        index: Index,
        style: Style,
        list_every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._index, self._style, self._clock = api, index, style, clock
        self._list_every_s, self._list_at = list_every_s, clock()
        self.owner: dict[str, str] | None = None
        self._there = False
        self._written: dict[_Where, dict[str, Any]] = {}
        """As it was tried last; empty: of an earlier life, or perhaps not as it should be."""
        self._left = set[_Where]()
        """Until the next full list."""
        self._made: dict[str, tuple[PolicyEntry, dict[str, Any] | None]] = {}

    async def look(self) -> None:
        """Raises ApiError when the API server does not answer; then the next look goes on."""
        now = self._clock()
        if now >= self._list_at:
            await self._list()
            self._list_at = now + self._list_every_s
        if self._there:
            await self._write()

    async def _list(self) -> None:
        """Also the way to learn whether the kind is there: it may come later, and go again."""
        selector = ",".join(f"{key}={value}" for key, value in MANAGED.items())
        try:
            found = await self._api.list(_path(), metadata_only=True, labelSelector=selector)
        except ApiError as error:
            if error.status != 404:
                raise
            if self._there:
                log.info("the kind PrometheusRule is gone: no burn-rate alerts are kept")
            self._there = False
            return
        if not self._there:
            log.info("the kind PrometheusRule is there: burn-rate alerts are kept")
        self._there = True
        self._left.clear()
        self._written = {(each["metadata"]["namespace"], each["metadata"]["name"]): {} for each in found}

    async def _write(self) -> None:
        wanted: dict[_Where, dict[str, Any]] = {}
        unknown = set[_Where]()
        """Of policies that are invalid, and whose last good objectives nobody remembers: what is there stays."""
        for entry, rule in self._rules():
            where = entry.namespace, rule_name(entry.name)
            if rule:
                wanted[where] = rule
            elif entry.findings:
                unknown.add(where)
        for where in self._written.keys() - wanted.keys() - unknown:
            await self._try(where, self._delete(where))
            del self._written[where]
        for where, rule in wanted.items():
            if where not in self._left and self._written.get(where) != rule:
                await self._try(where, self._apply(where, rule))

    def _rules(self) -> list[tuple[PolicyEntry, dict[str, Any] | None]]:
        """Each made once: an entry is another one when its policy has changed."""
        made = {}
        for key, entry in self._index.policies.items():
            known = self._made.get(key)
            if known and known[0] is entry:
                made[key] = known
            else:
                made[key] = entry, prometheus_rule(entry, self._style, self.owner)
        self._made = made
        return list(made.values())

    async def _try(self, where: _Where, work: Any) -> None:
        """What the API server refuses is tried again after the next full list: a rule must not keep others waiting."""
        try:
            await work
        except ApiError as error:
            if error.status == 0:
                if where in self._written:
                    self._written[where] = {}
                raise
            self._left.add(where)
            extra = {"namespace": where[0], "rule": where[1], "why": str(error)}
            log.warning("burn-rate alerts not written", extra=extra)

    async def _apply(self, where: _Where, rule: dict[str, Any]) -> None:
        if where not in self._written and await self._is_foreign(where):
            self._left.add(where)
            extra = {"namespace": where[0], "rule": where[1]}
            log.warning("somebody else's PrometheusRule has this name: it stays as it is", extra=extra)
            return
        self._written[where] = rule
        await self._api.apply(_path(where), rule)

    async def _is_foreign(self, where: _Where) -> bool:
        try:
            found = await self._api.get(_path(where))
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return not MANAGED.items() <= (found["metadata"].get("labels") or {}).items()

    async def _delete(self, where: _Where) -> None:
        try:
            await self._api.delete(_path(where))
        except ApiError as error:
            if error.status != 404:
                raise


def _path(where: _Where = ("", "")) -> str:
    return named(GROUP_VERSION, PLURAL, namespace=where[0], name=where[1])
