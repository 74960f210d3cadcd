"""Records as tests want them, and a time that they turn by hand."""

from typing import Any

from toolpolicy_sidecar.record import CallRecord


def record(**fields: Any) -> CallRecord:
    """Of a good call that took a millisecond."""
    plain: dict[str, Any] = {
        "policy": "a/p",
        "server": "kb",
        "tool": "search",
        "protocol": "MCP",
        "outcome": "success",
        "status": 200,
        "started_at_ms": 0,
        "duration_ms": 1.0,
    }
    return CallRecord(**(plain | fields))


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def unix_ms(self) -> int:
        return 0
