"""Pods that a policy selects and that have no sidecar: nothing of the policy is in force in them."""

from collections.abc import Iterable, Mapping
from typing import Any

from toolpolicy_api.resolve import selects
from toolpolicy_operator.api import Api, core
from toolpolicy_operator.index import INJECT_LABEL, INJECTED_LABEL, Index, PolicyEntry

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
WITHOUT: Mapping[str, str] = {
    "labelSelector": f"{INJECTED_LABEL}!=true,{INJECT_LABEL}!=disabled",
    "fieldSelector": "status.phase!=Succeeded,status.phase!=Failed",
}
"""Who opts out, does so on purpose."""


def counted(policies: Iterable[PolicyEntry], pods: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Policy → how many of these pods, all of its namespace and without a sidecar, it selects. Static pods count for
    none: nothing can be injected into them."""
    labels = [
        pod["metadata"].get("labels") or {}
        for pod in pods
        if MIRROR_ANNOTATION not in (pod["metadata"].get("annotations") or {})
        and "deletionTimestamp" not in pod["metadata"]
    ]
    return {
        entry.key: sum(selects(entry.compiled.selector, each) for each in labels)
        for entry in policies
        if entry.compiled is not None
    }


class Uncovered:
    """`pods` is what the last look has found, of policies in namespaces that ask for sidecars. No watch tells: the
    API server keeps pods without a sidecar from the operator, and in a large cluster they are nearly all."""

    def __init__(self, api: Api, index: Index) -> None:
        self._api, self._index = api, index
        self.pods: dict[str, int] = {}

    async def look(self) -> None:
        """Raises ApiError, and then what was known stays."""
        found: dict[str, int] = {}
        for namespace in list(self._index.namespaces):
            if policies := self._index.policies_of(namespace):
                listed = await self._api.list(core("pods", "", namespace), metadata_only=True, **WITHOUT)
                found |= counted(policies, listed)
        self.pods = found
