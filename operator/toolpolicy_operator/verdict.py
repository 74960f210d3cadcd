"""The status of one policy: a pure function of what the cluster and the sidecars say."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from toolpolicy_api import snapshot, status
from toolpolicy_api.channel import LATENCY_BOUNDS_MS, Direction, Finding, ToolKey, ToolReport
from toolpolicy_api.clean import clean
from toolpolicy_api.resolve import selects
from toolpolicy_operator.fleet import Fleet, View
from toolpolicy_operator.index import Assignment, Index, PodEntry, PolicyEntry
from toolpolicy_operator.slo.budget import column

NAMES_SHOWN = 5
WORST_PODS = 20
MESSAGE_CHARACTERS = 1000
BY_CHARACTERS = 256

Truth = Literal["True", "False", "Unknown"]


class Member(NamedTuple):
    """A pod that the policy selects, what it should enforce, and what is known of it."""

    pod: PodEntry
    view: View
    assignment: Assignment
    effective: snapshot.Policy | None
    """What is left of the policy on this pod after older ones took their claims. None: nothing."""

    @property
    def up_to_date(self) -> bool:
        return self.effective is not None and self.view.hash == self.assignment.hash

    @property
    def refused(self) -> bool:
        nack = self.view.nack
        return nack is not None and nack.hash == self.assignment.hash


def members(entry: PolicyEntry, index: Index, fleet: Fleet, now: float) -> list[Member]:
    if entry.compiled is None:
        return []
    found = []
    for pod in sorted(index.pods_of(entry.namespace), key=lambda pod: pod.name):
        if selects(entry.compiled.selector, dict(pod.labels)):
            assignment = index.assignment(pod)
            found.append(
                Member(pod, fleet.view(pod.uid, now), assignment, assignment.policies.get(entry.key))
            )
    return found


def status_of(
    entry: PolicyEntry,
    index: Index,
    fleet: Fleet,
    now: float,
    wall: dt.datetime,
    *,
    slos: Mapping[ToolKey, status.ToolSlo] = MappingProxyType({}),
) -> status.Status:
    """`wall` is stamped on what changes; conditions that stay keep the time in `entry.status`."""
    found = members(entry, index, fleet, now)
    tools = [
        tool.model_copy(update={"slo": slos.get(ToolKey(entry.key, tool.server, tool.name))})
        for tool in _tools(entry, found)
    ]
    digest = snapshot.sha256(snapshot.encode(entry.compiled)) if entry.compiled else None
    conditions = (
        _accepted(entry, found),
        _programmed(entry, found, digest),
        _healthy(entry, found, tools),
    )
    calls, errors = sum(tool.calls for tool in tools), sum(tool.errors for tool in tools)
    up_to_date = sum(member.up_to_date for member in found)
    return status.Status(
        observed_generation=entry.generation,
        observed_time=rfc3339(wall),
        hash=digest,
        conditions=tuple(_dated(condition, entry, wall) for condition in conditions),
        pods=status.Pods(
            matched=len(found),
            connected=sum(member.view.connected for member in found),
            up_to_date=up_to_date,
        ),
        ready=f"{up_to_date}/{len(found)}",
        open=_open_column(tools, len(found)),
        calls=calls,
        error_percent=_percent(errors, calls) or "0",
        budget=column(tools),
        redaction=_redaction(entry.key, found),
        reason=_urgent(conditions, tools, entry.compiled.mode if entry.compiled else "Enforce"),
        tools=tuple(tools),
    )


class Claim(NamedTuple):
    """A condition before it is dated."""

    type: str
    status: Truth
    reason: str
    message: str


def _accepted(entry: PolicyEntry, found: Sequence[Member]) -> Claim:
    if entry.findings:
        return Claim("Accepted", "False", "Invalid", _cut("; ".join(map(str, entry.findings))))
    lost = sorted(
        {
            conflict
            for resolution in {id(m.assignment): m.assignment.resolution for m in found}.values()
            for conflict in resolution.conflicts
            if conflict.loser == entry.key
        }
    )
    if lost:
        said = "; ".join(f"{c.kind.lower()} {c.name} belongs to the older {c.winner}" for c in lost)
        return Claim("Accepted", "True", "Conflict", _cut(f"not in effect: {said}"))
    return Claim(
        "Accepted", "True", "Accepted", _ACCEPTED[entry.compiled.mode if entry.compiled else "Enforce"]
    )


def _programmed(entry: PolicyEntry, found: Sequence[Member], digest: str | None) -> Claim:
    if entry.compiled is None or digest is None:
        return Claim("Programmed", "False", "Invalid", "not sent to any pod; see Accepted")
    if not found:
        return Claim("Programmed", "Unknown", "NoPods", "the selector matches no injected pod")
    if not any(member.effective for member in found):
        what = f"no pod of {len(found)} enforces any of it: older policies have all its servers; see Accepted"
        return Claim("Programmed", "False", "Conflict", what)
    done = sum(member.up_to_date for member in found)
    what = f"{done}/{len(found)} pods enforce {digest[:8]} (generation {entry.compiled.generation})"
    if any(member.effective != entry.compiled for member in found):
        what += " in part; see Accepted"
    refused = [member for member in found if member.refused]
    if refused:
        error = refused[0].view.nack.error if refused[0].view.nack else ""
        return Claim("Programmed", "False", "Nacked", _cut(f"{what}; refused by {_names(refused)}: {error}"))
    if entry.findings:
        return Claim(
            "Programmed", "False", "Invalid", f"{what}; generation {entry.generation} is not accepted"
        )
    wanting = [member for member in found if member.effective]
    if all(member.up_to_date for member in wanting):
        return Claim("Programmed", "True", "Programmed", what)
    away = [member for member in wanting if not member.view.connected]
    if away:
        return Claim("Programmed", "Unknown", "Disconnected", _cut(f"{what}; not connected: {_names(away)}"))
    return Claim("Programmed", "False", "Pending", what)


def _healthy(entry: PolicyEntry, found: Sequence[Member], tools: Sequence[status.Tool]) -> Claim:
    if entry.compiled is None:
        return Claim("Healthy", "Unknown", "Invalid", "not in force; see Accepted")
    if found and not any(member.effective for member in found):
        return Claim("Healthy", "Unknown", "Conflict", "not in force on any pod; see Accepted")
    bad = [tool for tool in tools if tool.pods.open or tool.pods.half_open]
    if bad:
        said = "; ".join(f"{tool.name}: {tool.last_error or tool.reason or tool.state}" for tool in bad)
        return Claim("Healthy", "False", "CircuitOpen", _cut(_PASSING[entry.compiled.mode] + said))
    unknown = [member for member in found if member.view.tools is None]
    if unknown:
        return Claim("Healthy", "Unknown", "Unheard", _cut(f"nothing is known of {_names(unknown)}"))
    silent = [tool for tool in tools if tool.pods.unknown]
    if silent:
        said = ", ".join(f"{tool.name}({tool.pods.unknown}/{len(found)})" for tool in silent)
        return Claim("Healthy", "Unknown", "Unheard", _cut(f"pods have not told the state of {said}"))
    if not found:
        return Claim("Healthy", "Unknown", "NoPods", "the selector matches no injected pod")
    return Claim("Healthy", "True", "Healthy", f"{_PASSING[entry.compiled.mode]}no circuit is open")


_ACCEPTED: dict[snapshot.Mode, str] = {
    "Enforce": "every field is enforced",
    "Shadow": "every field is decided and counted, and no call is touched (mode Shadow)",
    "Off": "no field is enforced (mode Off)",
}
_PASSING: dict[snapshot.Mode, str] = {
    "Enforce": "",
    "Shadow": "calls pass whatever a circuit says (mode Shadow); ",
    "Off": "calls pass (mode Off); ",
}


def _dated(claim: Claim, entry: PolicyEntry, wall: dt.datetime) -> status.Condition:
    since = rfc3339(wall)
    for old in entry.status.get("conditions", ()):
        if old.get("type") == claim.type and old.get("status") == claim.status:
            since = old.get("lastTransitionTime", since)
    return status.Condition(
        type=claim.type,
        status=claim.status,
        reason=claim.reason,
        message=claim.message,
        last_transition_time=since,
        observed_generation=entry.generation,
    )


def _tools(entry: PolicyEntry, found: Sequence[Member]) -> list[status.Tool]:
    """The tools of the policy in its order, then unlisted ones (`*`) that were called."""
    if entry.compiled is None:
        return []
    keys = [ToolKey(entry.key, tool.server, tool.name) for tool in entry.compiled.tools]
    for server in entry.compiled.servers:
        key = ToolKey(entry.key, server.name, snapshot.UNLISTED)
        if any(
            (report := _report(member, key)) and (report.calls or report.state != "Closed")
            for member in found
        ):
            keys.append(key)
    # A pod on which an older policy has the tool does not count: it is not this policy's there.
    return [_tool(key, [member for member in found if key in member.assignment.keys]) for key in keys]


def _report(member: Member, key: ToolKey) -> ToolReport | None:
    return member.view.tools.get(key) if member.view.tools is not None else None


def _tool(key: ToolKey, found: Sequence[Member]) -> status.Tool:
    known = [(member, report) for member in found if (report := _report(member, key))]
    count = {
        state: sum(report.state == state for _, report in known)
        for state in ("Closed", "Open", "HalfOpen", "Disabled")
    }
    unknown = len(found) - len(known)
    calls, errors = sum(report.calls for _, report in known), sum(report.errors for _, report in known)
    last = max((report for _, report in known if report.last_transition_ms), key=_moment, default=None)
    failing = [report for _, report in known if report.last_error and report.state != "Closed"]
    until = [report.open_until_ms for _, report in known if report.state == "Open" and report.open_until_ms]
    bad = sorted(
        ((member, report) for member, report in known if report.state != "Closed"),
        key=lambda pair: (-pair[1].errors, pair[0].pod.name),
    )
    return status.Tool(
        name=key.tool,
        server=key.server,
        state=_state(count, unknown),
        pods=status.CircuitPods(
            closed=count["Closed"],
            open=count["Open"],
            half_open=count["HalfOpen"],
            disabled=count["Disabled"],
            unknown=unknown,
        ),
        calls=calls,
        errors=errors,
        error_percent=_percent(errors, calls),
        p95_milliseconds=_p95([report for _, report in known]),
        last_transition_time=_time(_moment(last)) if last else None,
        reason=_cut(last.reason) if last and last.reason else None,
        last_error=_cut(max(failing, key=_moment).last_error) if failing else None,
        open_until=_time(max(until)) if until else None,
        worst_pods=tuple(
            status.WorstPod(
                pod=member.pod.name, state=report.state, errors=report.errors, reason=_cut(report.reason)
            )
            for member, report in bad[:WORST_PODS]
        )
        or None,
        overrides=tuple(
            status.Override(
                pod=member.pod.name,
                action=report.override.action,
                by=_cut(report.override.by, BY_CHARACTERS) or None,
                reason=_cut(report.override.reason) or None,
                until=_time(report.override.until_ms),
            )
            for member, report in known
            if report.override
        )[:WORST_PODS]
        or None,
    )


def _redaction(policy: str, found: Sequence[Member]) -> status.Redaction | None:
    redacted = _counted(policy, (each for member in found for each in member.view.redacted))
    would_find = _counted(policy, (each for member in found for each in member.view.would_find))
    if not redacted and not would_find:
        return None
    return status.Redaction(
        total=sum(each.count for each in redacted),
        found=redacted[: status.FINDINGS],
        would_find=would_find[: status.FINDINGS] or None,
    )


def _counted(policy: str, findings: Iterable[Finding]) -> tuple[status.Finding, ...]:
    """Over all pods, the most frequent first."""
    counts = Counter[tuple[str, Direction]]()
    for each in findings:
        if each.policy == policy:
            counts[each.detector, each.direction] += each.count
    return tuple(
        status.Finding(detector=detector, direction=direction, count=count)
        for (detector, direction), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _moment(report: ToolReport) -> int:
    return report.last_transition_ms or 0


def _state(count: Mapping[str, int], unknown: int) -> status.ToolState:
    seen: list[status.ToolState] = [
        state for state in ("Closed", "Open", "HalfOpen", "Disabled") if count[state]
    ]
    if unknown:
        seen.append("Unknown")
    if not seen:
        return "Unknown"
    return seen[0] if len(seen) == 1 else "Mixed"


def _p95(reports: Iterable[ToolReport]) -> int | None:
    """Upper bound of the bucket in which the 95th percentile lies; above the last bound, that bound."""
    total = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    for report in reports:
        for bucket, amount in enumerate(report.latency[: len(total)]):
            total[bucket] += amount
    wanted = sum(total) * 0.95
    if not wanted:
        return None
    seen = 0
    for bound, amount in zip((*LATENCY_BOUNDS_MS, LATENCY_BOUNDS_MS[-1]), total, strict=True):
        seen += amount
        if seen >= wanted:
            return bound
    return None


def _open_column(tools: Sequence[status.Tool], pods: int) -> str:
    said = [
        f"{tool.name}({tool.pods.open + tool.pods.half_open}/{pods})"
        for tool in tools
        if tool.pods.open or tool.pods.half_open
    ]
    return _cut(",".join(said))


def _urgent(conditions: Sequence[Claim], tools: Sequence[status.Tool], mode: snapshot.Mode) -> str:
    by_type = {claim.type: claim for claim in conditions}
    for kind, reasons in (
        ("Accepted", {"Invalid"}),
        ("Programmed", {"Nacked"}),
        ("Healthy", {"CircuitOpen"}),
        ("Accepted", {"Conflict"}),
        ("Programmed", {"Disconnected", "Pending", "NoPods"}),
        ("Healthy", {"Unheard"}),
    ):
        claim = by_type[kind]
        if claim.reason in reasons:
            return _cut(f"{claim.reason}: {claim.message}", 200)
    off = [tool.name for tool in tools if tool.state == "Disabled"]
    return _cut(f"Disabled: {_PASSING[mode]}{', '.join(off)}", 200) if off else ""


def _percent(errors: int, calls: int) -> str | None:
    return f"{errors * 100 / calls:.1f}".removesuffix(".0") if calls else None


def _names(found: Sequence[Member]) -> str:
    names = [member.pod.name for member in found]
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _cut(text: str | None, characters: int = MESSAGE_CHARACTERS) -> str:
    """Of other people's texts: what is not theirs to tell is taken out first."""
    text = clean(text or "")
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _time(unix_ms: int) -> str:
    return rfc3339(dt.datetime.fromtimestamp(unix_ms // 1000, dt.UTC))


def rfc3339(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
