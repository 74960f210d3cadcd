"""Policies in, snapshots out: `compile_policy` applies defaults, `resolve` picks what one pod enforces.

`resolve` works on compiled policies and needs msgspec alone, so a sidecar that starts from the
bootstrap ConfigMap comes to the same snapshot, and the same hash, as the operator.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from toolpolicy_api import snapshot as compiled


class Conflict(NamedTuple):
    """`loser` does not get the server or tool `name` on a pod, because the older `winner` claims it."""

    loser: str
    kind: Literal["Server", "Tool"]
    name: str
    winner: str


class Resolution(NamedTuple):
    snapshot: compiled.Snapshot
    conflicts: tuple[Conflict, ...]


def selects(selector: compiled.Selector, labels: Mapping[str, str]) -> bool:
    """Kubernetes' own semantics: all must hold; NotIn and DoesNotExist hold for a missing key."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    return all(_holds(requirement, labels) for requirement in selector.match_expressions)


def _holds(requirement: compiled.Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


def resolve(policies: Iterable[compiled.Policy], labels: Mapping[str, str]) -> Resolution:
    """The snapshot of a pod with these labels, and who lost which claim to whom.

    Policies are ranked by creation time, then name. A server or tool name belongs to the first that
    claims it. A policy that loses a server loses its tools on it; one that loses only a tool has that
    tool's calls counted as unlisted. One that denies egress counts without any server too.
    """
    ranked = sorted(
        (policy for policy in policies if selects(policy.selector, labels)),
        key=lambda policy: (policy.created, policy.namespace, policy.name),
    )
    server_owner: dict[str, str] = {}
    tool_owner: dict[str, str] = {}
    conflicts: list[Conflict] = []
    effective: list[compiled.Policy] = []
    for policy in ranked:
        kept_servers = []
        for server in policy.servers:
            winner = server_owner.setdefault(server.name, policy.key)
            if winner == policy.key:
                kept_servers.append(server)
            else:
                conflicts.append(Conflict(policy.key, "Server", server.name, winner))
        kept_names = {server.name for server in kept_servers}
        kept_tools = []
        for tool in policy.tools:
            if tool.server not in kept_names:
                continue
            winner = tool_owner.setdefault(tool.name, policy.key)
            if winner == policy.key:
                kept_tools.append(tool)
            else:
                conflicts.append(Conflict(policy.key, "Tool", tool.name, winner))
        if kept_servers or policy.egress_default == "Deny":
            effective.append(_narrowed(policy, tuple(kept_servers), tuple(kept_tools)))
    return Resolution(compiled.Snapshot(policies=tuple(effective)), tuple(conflicts))


def _narrowed(
    policy: compiled.Policy, servers: tuple[compiled.Server, ...], tools: tuple[compiled.Tool, ...]
) -> compiled.Policy:
    if len(servers) == len(policy.servers) and len(tools) == len(policy.tools):
        return policy
    return compiled.Policy(
        namespace=policy.namespace,
        name=policy.name,
        uid=policy.uid,
        generation=policy.generation,
        created=policy.created,
        selector=policy.selector,
        servers=servers,
        mode=policy.mode,
        tools=tools,
        redaction=policy.redaction,
        egress_default=policy.egress_default,
    )
