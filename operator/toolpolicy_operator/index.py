"""What the cluster says: policies, injected pods, labelled namespaces. In memory, no I/O."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from toolpolicy_api import snapshot
from toolpolicy_api.check import Finding, Invalid, parse
from toolpolicy_api.compile import compile_policy
from toolpolicy_api.resolve import Resolution, resolve

INJECT_LABEL = "toolpolicy.dev/inject"
INJECTED_LABEL = "toolpolicy.dev/injected"


class PolicyEntry(NamedTuple):
    """A ToolPolicy as the API server has it. `compiled` is None when `findings` say why."""

    namespace: str
    name: str
    uid: str
    generation: int
    compiled: snapshot.Policy | None
    findings: tuple[Finding, ...]
    status: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class PodEntry(NamedTuple):
    """An injected pod. `labels` are the API server's, never the client's."""

    namespace: str
    name: str
    uid: str
    labels: tuple[tuple[str, str], ...]


class Assignment(NamedTuple):
    """What one pod should enforce: canonical bytes and their hash, and who lost which claim."""

    hash: str
    data: bytes
    resolution: Resolution


class Index:
    """Every change method says whether anything that matters has changed."""

    def __init__(self) -> None:
        self.policies: dict[str, PolicyEntry] = {}
        self.pods: dict[str, PodEntry] = {}
        self.namespaces: set[str] = set()
        self._assignments: dict[tuple[str, tuple[tuple[str, str], ...]], Assignment] = {}

    # changes
    def put_policy(self, document: Mapping[str, Any]) -> bool:
        """A status write comes back as an event of the same generation: that is no change."""
        entry = policy_entry(document)
        known = self.policies.get(entry.key)
        if known and (known.uid, known.generation) == (entry.uid, entry.generation):
            return False
        self.policies[entry.key] = entry
        self._forget(entry.namespace)
        return True

    def drop_policy(self, namespace: str, name: str) -> bool:
        if self.policies.pop(f"{namespace}/{name}", None) is None:
            return False
        self._forget(namespace)
        return True

    def put_pod(self, document: Mapping[str, Any]) -> bool:
        """Pods that have ended, or never had a sidecar, are not kept."""
        metadata = document["metadata"]
        labels = metadata.get("labels") or {}
        ended = document.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        if ended or labels.get(INJECTED_LABEL) != "true":
            return self.drop_pod(metadata["uid"])
        entry = PodEntry(
            metadata["namespace"], metadata["name"], metadata["uid"], tuple(sorted(labels.items()))
        )
        if self.pods.get(entry.uid) == entry:
            return False
        self.pods[entry.uid] = entry
        return True

    def drop_pod(self, uid: str) -> bool:
        return self.pods.pop(uid, None) is not None

    def put_namespace(self, document: Mapping[str, Any]) -> bool:
        metadata = document["metadata"]
        labels = metadata.get("labels") or {}
        gone = "deletionTimestamp" in metadata
        wanted = labels.get(INJECT_LABEL) == "enabled" and not gone
        if wanted == (metadata["name"] in self.namespaces):
            return False
        if wanted:
            self.namespaces.add(metadata["name"])
        else:
            self.namespaces.discard(metadata["name"])
        return True

    def drop_namespace(self, name: str) -> bool:
        known = name in self.namespaces
        self.namespaces.discard(name)
        return known

    # what follows from them
    def policies_of(self, namespace: str) -> list[PolicyEntry]:
        return [entry for entry in self.policies.values() if entry.namespace == namespace]

    def pods_of(self, namespace: str) -> Iterator[PodEntry]:
        return (pod for pod in self.pods.values() if pod.namespace == namespace)

    def assignment(self, pod: PodEntry) -> Assignment:
        """Pods with equal labels share one; it is made once per change of the namespace's policies."""
        key = (pod.namespace, pod.labels)
        found = self._assignments.get(key)
        if found is None:
            resolution = resolve(self._accepted(pod.namespace), dict(pod.labels))
            data = snapshot.encode(resolution.snapshot)
            found = self._assignments[key] = Assignment(snapshot.sha256(data), data, resolution)
        return found

    def bootstrap(self, namespace: str) -> snapshot.Bootstrap:
        accepted = sorted(self._accepted(namespace), key=lambda policy: policy.name)
        return snapshot.Bootstrap(policies=tuple(accepted))

    def _accepted(self, namespace: str) -> list[snapshot.Policy]:
        return [entry.compiled for entry in self.policies_of(namespace) if entry.compiled]

    def _forget(self, namespace: str) -> None:
        self._assignments = {key: value for key, value in self._assignments.items() if key[0] != namespace}


def policy_entry(document: Mapping[str, Any]) -> PolicyEntry:
    metadata = document["metadata"]
    try:
        compiled, findings = compile_policy(parse(document)), []
    except Invalid as invalid:
        compiled, findings = None, invalid.findings
    return PolicyEntry(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        compiled=compiled,
        findings=tuple(findings),
        status=document.get("status") or {},
    )
