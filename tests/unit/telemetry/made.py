"""Records as tests want them, and a time that they turn by hand."""

from typing import Any

from toolpolicy_sidecar.record import CallRecord

PLAIN: dict[str, Any] = {
    "policy": "a/p",
    "server": "kb",
    "tool": "search",
    "protocol": "MCP",
    "outcome": "success",
    "status": 200,
    "started_at_ms": 0,
    "duration_ms": 1.0,
}
"""A good call that took a millisecond."""


def record(**fields: Any) -> CallRecord:
    return CallRecord(**(PLAIN | fields))


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def unix_ms(self) -> int:
        return 0
