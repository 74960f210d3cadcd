"""What the cluster says: policies, injected pods, labelled namespaces. In memory, no I/O."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from toolpolicy_api import snapshot
from toolpolicy_api.channel import ToolKey
from toolpolicy_api.check import Finding, Invalid, parse
from toolpolicy_api.compile import compile_policy
from toolpolicy_api.resolve import Resolution, resolve, selects
from toolpolicy_api.slo import Slo, slos_of

log = logging.getLogger(__name__)

INJECT_LABEL = "toolpolicy.dev/inject"
INJECTED_LABEL = "toolpolicy.dev/injected"
GONE_REMEMBERED = 10_000


class PolicyEntry(NamedTuple):
    """A ToolPolicy as the API server has it.

    `compiled` is what pods get: this generation, or the last good one while `findings` say why this is none.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    compiled: snapshot.Policy | None
    findings: tuple[Finding, ...]
    status: Mapping[str, Any]
    slos: Mapping[ToolKey, Slo] = MappingProxyType({})
    """As `compiled`; lost when the operator restarts while the policy is invalid."""

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
    """What one pod should enforce: canonical bytes, their hash, who lost which claim, the circuits there are."""

    hash: str
    data: bytes
    resolution: Resolution
    policies: Mapping[str, snapshot.Policy]
    keys: frozenset[ToolKey]


class Index:
    """Every change method says whether anything that matters has changed.

    A watch tells an object's versions in order. A list or a GET (`listed`) may be older than what the watch
    has told meanwhile: then it changes nothing, and brings back nothing that is gone.
    """

    def __init__(self) -> None:
        self.policies: dict[str, PolicyEntry] = {}
        self.pods: dict[str, PodEntry] = {}
        self.namespaces: dict[str, str] = {}
        """Those that ask for sidecars, with their uid."""
        self._policies_of: defaultdict[str, dict[str, PolicyEntry]] = defaultdict(dict)
        self._pods_of: defaultdict[str, dict[str, PodEntry]] = defaultdict(dict)
        self._assigned: dict[str, Assignment] = {}
        self._shared: defaultdict[str, dict[tuple[str, ...], Assignment]] = defaultdict(dict)
        self._last_good: dict[str, snapshot.Policy] = {}
        self._versions: dict[str, int] = {}
        self._gone: dict[str, None] = {}

    # changes
    def put_policy(self, document: Mapping[str, Any], *, listed: bool = False) -> bool:
        """A status write comes back as an event of the same generation: that is no change."""
        metadata = document["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        known = self.policies.get(key)
        if known and (known.uid, known.generation) == (metadata["uid"], metadata.get("generation", 0)):
            return False
        if self._outdated(metadata, listed=listed):
            return False
        last_good = self._last_good.pop(metadata["uid"], None)
        if known and known.uid == metadata["uid"]:
            last_good = known.compiled
        entry = policy_entry(document, last_good)
        if entry.findings and known and known.uid == entry.uid:
            entry = entry._replace(slos=known.slos)
        self.policies[entry.key] = self._policies_of[entry.namespace][entry.name] = entry
        self._unassign(entry.namespace)
        return True

    def recall(self, policies: Iterable[snapshot.Policy]) -> None:
        """Policies that were in force before this process began, for those that are invalid now."""
        for policy in policies:
            entry = self.policies.get(policy.key)
            if entry and entry.uid == policy.uid and entry.compiled is None:
                entry = entry._replace(compiled=policy)
                self.policies[entry.key] = self._policies_of[entry.namespace][entry.name] = entry
                self._unassign(entry.namespace)

    def drop_policy(self, namespace: str, name: str) -> bool:
        entry = self.policies.pop(f"{namespace}/{name}", None)
        if entry is None:
            return False
        self._forget(entry.uid)
        del self._policies_of[namespace][name]
        self._unassign(namespace)
        return True

    def put_pod(self, document: Mapping[str, Any], *, listed: bool = False) -> bool:
        """Pods that have ended, or never had a sidecar, are not kept."""
        metadata = document["metadata"]
        if self._outdated(metadata, listed=listed):
            return False
        labels = metadata.get("labels") or {}
        ended = document.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        if ended or labels.get(INJECTED_LABEL) != "true":
            return self.drop_pod(metadata["uid"])
        entry = PodEntry(
            metadata["namespace"], metadata["name"], metadata["uid"], tuple(sorted(labels.items()))
        )
        if self.pods.get(entry.uid) == entry:
            return False
        self.pods[entry.uid] = self._pods_of[entry.namespace][entry.uid] = entry
        self._assigned.pop(entry.uid, None)
        return True

    def drop_pod(self, uid: str) -> bool:
        self._forget(uid)
        entry = self.pods.pop(uid, None)
        if entry is None:
            return False
        del self._pods_of[entry.namespace][uid]
        self._assigned.pop(uid, None)
        return True

    def put_namespace(self, document: Mapping[str, Any], *, listed: bool = False) -> bool:
        metadata = document["metadata"]
        if self._outdated(metadata, listed=listed):
            return False
        labels = metadata.get("labels") or {}
        known = metadata["name"] in self.namespaces
        if labels.get(INJECT_LABEL) != "enabled" or "deletionTimestamp" in metadata:
            self.namespaces.pop(metadata["name"], None)
            return known
        self.namespaces[metadata["name"]] = metadata.get("uid", "")
        return not known

    def drop_namespace(self, metadata: Mapping[str, Any]) -> bool:
        self._forget(metadata.get("uid", ""))
        return self.namespaces.pop(metadata["name"], None) is not None

    # what follows from them
    def policies_of(self, namespace: str) -> list[PolicyEntry]:
        return list(self._policies_of[namespace].values()) if namespace in self._policies_of else []

    def pods_of(self, namespace: str) -> list[PodEntry]:
        return list(self._pods_of[namespace].values()) if namespace in self._pods_of else []

    def assignment(self, pod: PodEntry) -> Assignment:
        """Pods that the same policies select share one; it is made once per change of those policies."""
        found = self._assigned.get(pod.uid)
        if found is None:
            labels = dict(pod.labels)
            chosen = [each for each in self._in_force(pod.namespace) if selects(each.selector, labels)]
            shared, key = self._shared[pod.namespace], tuple(policy.uid for policy in chosen)
            found = shared.get(key) or shared.setdefault(key, _assignment(resolve(chosen, labels)))
            if pod.uid in self.pods:
                self._assigned[pod.uid] = found
        return found

    def bootstrap(self, namespace: str) -> snapshot.Bootstrap:
        policies = sorted(self._in_force(namespace), key=lambda policy: policy.name)
        return snapshot.Bootstrap(policies=tuple(policies))

    def _in_force(self, namespace: str) -> list[snapshot.Policy]:
        return [entry.compiled for entry in self.policies_of(namespace) if entry.compiled]

    def _unassign(self, namespace: str) -> None:
        self._shared.pop(namespace, None)
        for uid in self._pods_of.get(namespace, ()):
            self._assigned.pop(uid, None)

    def _outdated(self, metadata: Mapping[str, Any], *, listed: bool) -> bool:
        """resourceVersions of one object compare as integers (Kubernetes' API conventions since 1.35)."""
        uid, text = metadata.get("uid", ""), metadata.get("resourceVersion", "")
        version = int(text) if text.isdecimal() else 0
        if listed and (uid in self._gone or version < self._versions.get(uid, 0)):
            return True
        self._gone.pop(uid, None)
        self._versions[uid] = version
        return False

    def _forget(self, uid: str) -> None:
        self._versions.pop(uid, None)
        self._gone[uid] = None
        if len(self._gone) > GONE_REMEMBERED:
            del self._gone[next(iter(self._gone))]


def policy_entry(document: Mapping[str, Any], last_good: snapshot.Policy | None = None) -> PolicyEntry:
    metadata = document["metadata"]
    compiled, findings = last_good, list[Finding]()
    slos: Mapping[ToolKey, Slo] = MappingProxyType({})
    try:
        policy = parse(document)
        compiled, slos = compile_policy(policy), slos_of(policy)
    except Invalid as invalid:
        findings = invalid.findings
    except Exception:  # a bug of ours in one policy must not take the others along
        log.exception("a policy cannot be compiled", extra={"policy": metadata["name"]})
        findings = [Finding("spec", "the operator failed on it, see its log; the last good version stays")]
    return PolicyEntry(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        compiled=compiled,
        findings=tuple(findings),
        status=document.get("status") or {},
        slos=slos,
    )


def _assignment(resolution: Resolution) -> Assignment:
    data = snapshot.encode(resolution.snapshot)
    policies = {policy.key: policy for policy in resolution.snapshot.policies}
    keys = {ToolKey(key, tool.server, tool.name) for key, policy in policies.items() for tool in policy.tools}
    keys |= {
        ToolKey(key, server.name, snapshot.UNLISTED)
        for key, policy in policies.items()
        for server in policy.servers
    }
    return Assignment(snapshot.sha256(data), data, resolution, policies, frozenset(keys))
