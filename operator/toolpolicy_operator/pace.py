"""When to write a status, and how often writes happen at all. Pure: the time is an argument."""

from typing import Any

SOON_S = 1.0
"""Between two writes of one policy when circuits, conditions or the generation changed: at once, then this."""
LATER_S = 5.0
"""Everything else: counts, pods, messages."""
WRITES_PER_S = 20.0
BURST = 40.0
KEPT_FOR_URGENT = BURST / 2
SHORTEST_RETRY_S, LONGEST_RETRY_S = 0.5, 5.0


def wait_s(old: dict[str, Any] | None, new: dict[str, Any], since_s: float, refresh_s: float) -> float:
    """Seconds until `new` should be written, when `old` was written `since_s` ago. 0 is now."""
    if old is None:
        return 0.0
    if urgent(old, new):
        return max(0.0, SOON_S - since_s)
    if {**old, "observedTime": ""} != {**new, "observedTime": ""}:
        return max(0.0, LATER_S - since_s)
    return max(0.0, refresh_s - since_s)


def urgent(old: dict[str, Any] | None, new: dict[str, Any]) -> bool:
    """Is there something that an on-call engineer waits for?"""
    return old is None or _headline(old) != _headline(new)


def _headline(status: dict[str, Any]) -> object:
    return (
        status.get("observedGeneration"),
        status.get("hash"),
        [(each.get("type"), each.get("status"), each.get("reason")) for each in status.get("conditions", ())],
        [
            (tool.get("name"), tool.get("server"), tool.get("state"), tool.get("pods"), _where(tool))
            for tool in status.get("tools", ())
        ],
    )


def _where(tool: dict[str, Any]) -> list[tuple[str, str]]:
    """One circuit that opens while another one closes leaves every count as it was."""
    return sorted((each.get("pod", ""), each.get("state", "")) for each in tool.get("worstPods", ()))


def retry_s(failures: int) -> float:
    """After that many failures in a row."""
    return min(LONGEST_RETRY_S, SHORTEST_RETRY_S * 2.0 ** min(failures - 1, 10))


class Bucket:
    """A token bucket over all policies. What can wait leaves half of it to what cannot."""

    def __init__(self, now: float) -> None:
        self._tokens, self._at = BURST, now

    def take(self, now: float, *, urgent: bool) -> float:
        """0 when a write may happen now, else the seconds until it is worth to ask again."""
        self._tokens = min(BURST, self._tokens + (now - self._at) * WRITES_PER_S)
        self._at = now
        missing = (1.0 if urgent else 1.0 + KEPT_FOR_URGENT) - self._tokens
        if missing > 0:
            return missing / WRITES_PER_S
        self._tokens -= 1.0
        return 0.0
