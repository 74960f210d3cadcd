"""What the sidecars say: who is connected, what each enforces, how its circuits stand. No I/O.

Times are monotonic seconds of this process. What was not heard is not known.
"""

from typing import NamedTuple

from toolpolicy_api.channel import SILENCE_S, Nack, ToolKey, ToolReport

GRACE_S = 3.0
"""A connection that was lost comes back in a moment, mostly: until then the last word stands."""


class Knowledge:
    """Of one pod."""

    def __init__(self) -> None:
        self.connected = False
        self.heard_at = float("-inf")
        self.lost_at: float | None = None
        self.hash: str | None = None
        self.nack: Nack | None = None
        self.tools: dict[ToolKey, ToolReport] = {}


class View(NamedTuple):
    """What is known of one pod now. `tools` None: nothing is."""

    connected: bool
    hash: str | None
    nack: Nack | None
    tools: dict[ToolKey, ToolReport] | None


UNHEARD = View(connected=False, hash=None, nack=None, tools=None)


class Fleet:
    def __init__(self) -> None:
        self._pods: dict[str, Knowledge] = {}

    def connect(self, uid: str, now: float) -> None:
        knowledge = self._pods.setdefault(uid, Knowledge())
        knowledge.connected, knowledge.heard_at, knowledge.lost_at = True, now, None
        knowledge.hash = knowledge.nack = None

    def disconnect(self, uid: str, now: float) -> None:
        knowledge = self._pods.get(uid)
        if knowledge:
            knowledge.connected, knowledge.lost_at = False, now

    def enforces(self, uid: str, digest: str | None, now: float) -> None:
        """Acked, or said in a heartbeat. A hash that was refused is refused until another is in force."""
        knowledge = self._pods.setdefault(uid, Knowledge())
        knowledge.heard_at = now
        if knowledge.hash != digest:
            knowledge.hash = digest
        if knowledge.nack and knowledge.nack.hash == digest:
            knowledge.nack = None

    def refuses(self, uid: str, nack: Nack, now: float) -> None:
        knowledge = self._pods.setdefault(uid, Knowledge())
        knowledge.heard_at, knowledge.nack = now, nack

    def reports(self, uid: str, tools: tuple[ToolReport, ...], now: float, *, complete: bool) -> None:
        """`complete`: these are all circuits of the pod; otherwise only those that changed."""
        knowledge = self._pods.setdefault(uid, Knowledge())
        knowledge.heard_at = now
        fresh = {report.key: report for report in tools}
        knowledge.tools = fresh if complete else {**knowledge.tools, **fresh}

    def forget(self, uid: str) -> None:
        self._pods.pop(uid, None)

    def view(self, uid: str, now: float) -> View:
        knowledge = self._pods.get(uid)
        if knowledge is None:
            return UNHEARD
        silent = now - knowledge.heard_at > SILENCE_S
        if knowledge.connected and not silent:
            return View(connected=True, hash=knowledge.hash, nack=knowledge.nack, tools=knowledge.tools)
        if knowledge.lost_at is not None and now - knowledge.lost_at <= GRACE_S and not silent:
            return View(connected=False, hash=knowledge.hash, nack=knowledge.nack, tools=knowledge.tools)
        return UNHEARD

    def fading(self, now: float) -> list[str]:
        """Pods whose view changes by the passing of time alone, about now."""
        margin_s = 3.0
        return [
            uid
            for uid, knowledge in self._pods.items()
            if (knowledge.lost_at is not None and now - knowledge.lost_at <= GRACE_S + margin_s)
            or 0 <= now - knowledge.heard_at - SILENCE_S <= margin_s
        ]
