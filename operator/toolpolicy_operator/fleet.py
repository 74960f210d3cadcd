"""What the sidecars say: who is connected, what each enforces, how its circuits stand. No I/O.

Times are monotonic seconds of this process. What was not heard is not known.
"""

from collections.abc import Iterable
from typing import NamedTuple

from toolpolicy_api.channel import SILENCE_S, CircuitState, Finding, Nack, ToolKey, ToolReport

GRACE_S = 3.0
"""A connection that was lost comes back in a moment, mostly: until then the last word stands."""
FADING_S = 3.0


class Knowledge:
    """Of one pod. `tools` None: no heartbeat has come yet."""

    def __init__(self, digest: str | None, tools: dict[ToolKey, ToolReport] | None, now: float) -> None:
        self.hash = digest
        self.tools = tools
        self.redacted: tuple[Finding, ...] = ()
        self.would_find: tuple[Finding, ...] = ()
        self.nack: Nack | None = None
        self.heard_at = now
        self.lost_at: float | None = None

    def known(self, now: float) -> bool:
        lost = self.lost_at is not None and now - self.lost_at > GRACE_S
        return not lost and now - self.heard_at <= SILENCE_S


class View(NamedTuple):
    """What is known of one pod now. `tools` None: nothing is."""

    connected: bool
    hash: str | None
    nack: Nack | None
    tools: dict[ToolKey, ToolReport] | None
    redacted: tuple[Finding, ...] = ()
    would_find: tuple[Finding, ...] = ()


UNHEARD = View(connected=False, hash=None, nack=None, tools=None)


class Fleet:
    """A pod is known from `connect` to `forget`; what is said of others changes nothing."""

    def __init__(self) -> None:
        self._pods: dict[str, Knowledge] = {}

    def connect(self, uid: str, digest: str | None, now: float) -> None:
        """`digest`: what the sidecar says that it enforces. Within the grace its circuits are as they were."""
        before = self._pods.get(uid)
        tools = before.tools if before and before.known(now) else None
        self._pods[uid] = Knowledge(digest, tools, now)

    def disconnect(self, uid: str, now: float) -> None:
        knowledge = self._pods.get(uid)
        if knowledge:
            knowledge.lost_at = now

    def enforces(self, uid: str, digest: str | None) -> bool:
        """Acked, or said in a heartbeat. A hash that was refused is refused until another is in force.
        Whether that is news."""
        knowledge = self._pods.get(uid)
        if knowledge is None or knowledge.hash == digest:
            return False
        knowledge.hash = digest
        if knowledge.nack and knowledge.nack.hash == digest:
            knowledge.nack = None
        return True

    def refuses(self, uid: str, nack: Nack) -> None:
        knowledge = self._pods.get(uid)
        if knowledge:
            knowledge.nack = nack

    def heartbeat(
        self,
        uid: str,
        tools: Iterable[ToolReport],
        now: float,
        redacted: tuple[Finding, ...] = (),
        would_find: tuple[Finding, ...] = (),
    ) -> bool:
        """All circuits of the pod. Whether any is in another state than before."""
        knowledge = self._pods.get(uid)
        if knowledge is None:
            return False
        before = None if knowledge.tools is None or not knowledge.known(now) else _states(knowledge.tools)
        knowledge.heard_at = now
        knowledge.redacted, knowledge.would_find = redacted, would_find
        knowledge.tools = {report.key: report for report in tools}
        return _states(knowledge.tools) != before

    def report(self, uid: str, tools: Iterable[ToolReport]) -> None:
        """Those circuits of the pod that have changed. Before the first heartbeat they would be half the truth."""
        knowledge = self._pods.get(uid)
        if knowledge and knowledge.tools is not None:
            knowledge.tools |= {report.key: report for report in tools}

    def forget(self, uid: str) -> None:
        self._pods.pop(uid, None)

    def view(self, uid: str, now: float) -> View:
        knowledge = self._pods.get(uid)
        if knowledge is None or not knowledge.known(now):
            return UNHEARD
        return View(
            connected=True,
            hash=knowledge.hash,
            nack=knowledge.nack,
            tools=knowledge.tools,
            redacted=knowledge.redacted,
            would_find=knowledge.would_find,
        )

    def fading(self, now: float) -> list[str]:
        """Pods whose view changes by the passing of time alone, about now."""
        return [
            uid
            for uid, knowledge in self._pods.items()
            if (knowledge.lost_at is not None and 0 <= now - knowledge.lost_at - GRACE_S <= FADING_S)
            or 0 <= now - knowledge.heard_at - SILENCE_S <= FADING_S
        ]


def _states(tools: dict[ToolKey, ToolReport]) -> dict[ToolKey, tuple[CircuitState, object]]:
    return {key: (report.state, report.override) for key, report in tools.items()}
