"""How long a circuit stays open: longer each time it opens again without having been well in between, and
not shorter than the tool asked for."""

from toolpolicy_api import snapshot

_DOUBLINGS = 64
"""More change nothing: a millisecond, doubled so often, is longer than any policy can ask for."""
RETRY_AFTER_MS = 300_000
"""What a tool may ask for where the policy names no `max_open_for_ms`. Envoy ejects a host for no longer
either (outlier detection's max_ejection_time)."""


def open_for_s(config: snapshot.Breaker, openings: int) -> float:
    """For the `openings`-th opening in a row: doubled each time up to `max_open_for_ms`, not at all without it."""
    longest_ms = max(config.max_open_for_ms or 0, config.open_for_ms)
    return min(config.open_for_ms << min(openings - 1, _DOUBLINGS), longest_ms) / 1000


def floor_s(config: snapshot.Breaker, retry_after_s: float) -> float:
    """What a Retry-After is worth: never longer than the policy lets a circuit be open."""
    longest_ms = RETRY_AFTER_MS if config.max_open_for_ms is None else config.max_open_for_ms
    return min(retry_after_s, longest_ms / 1000)
