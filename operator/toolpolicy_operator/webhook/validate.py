"""A ToolPolicy in, a verdict out: what neither schema nor CEL rules can say. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from toolpolicy_api import snapshot
from toolpolicy_api.check import Finding, Invalid, parse
from toolpolicy_api.clean import clean
from toolpolicy_api.compile import compile_policy

WARNING_CHARACTERS = 240


class Verdict(NamedTuple):
    """`policy` is what was looked at and found good: the object to compare with others. Findings quote what is wrong,
    but for what looks like a secret: they come to be read in more places than the policy."""

    findings: tuple[Finding, ...] = ()
    policy: snapshot.Policy | None = None

    @property
    def allowed(self) -> bool:
        return not self.findings

    @property
    def message(self) -> str:
        return "; ".join(map(str, self.findings))


def validate(request: Mapping[str, Any]) -> Verdict:
    """`request` is the AdmissionReview's. Objects on their way out, and changes of metadata alone, always pass."""
    new, old = request.get("object") or {}, request.get("oldObject") or {}
    if request.get("operation") == "UPDATE":
        leaving = "deletionTimestamp" in (new.get("metadata") or {})
        if leaving or new.get("spec") == old.get("spec"):
            return Verdict()
    try:
        return Verdict(policy=compile_policy(parse(new)))
    except Invalid as invalid:
        return Verdict(tuple(Finding(clean(each.field), clean(each.message)) for each in invalid.findings))


def claimed_by_others(mine: snapshot.Policy, others: Iterable[snapshot.Policy], *, new: bool) -> list[str]:
    """One warning for each older policy that has a server or tool of this name and may select the same pods.

    `new`: the policy is being created, so every other one is older.
    """
    warnings = []
    for other in sorted(others, key=_age):
        younger = not new and _age(mine) <= _age(other)
        if other.key == mine.key or younger or _disjoint(mine.selector, other.selector):
            continue
        shared = [f"server {name!r}" for name in _shared(mine.servers, other.servers)]
        shared += [f"tool {name!r}" for name in _shared(mine.tools, other.tools)]
        if shared:
            text = f"toolpolicy: the older policy {other.name!r} wins on pods of both: {', '.join(shared)}"
            warnings.append(text if len(text) <= WARNING_CHARACTERS else f"{text[: WARNING_CHARACTERS - 1]}…")
    return warnings


def _age(policy: snapshot.Policy) -> tuple[str, str]:
    """The rank of `resolve` within one namespace."""
    return policy.created, policy.name


def _shared(
    mine: Iterable[snapshot.Server | snapshot.Tool], theirs: Iterable[snapshot.Server | snapshot.Tool]
) -> list[str]:
    return sorted({one.name for one in mine} & {one.name for one in theirs})


def _disjoint(one: snapshot.Selector, other: snapshot.Selector) -> bool:
    """No pod can have two values of one label. Expressions are not compared: better a warning too many."""
    return any(other.match_labels.get(key, value) != value for key, value in one.match_labels.items())
