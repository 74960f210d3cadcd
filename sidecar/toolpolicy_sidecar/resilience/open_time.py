"""How long a circuit stays open: longer each time it opens again without having been well in between."""

from toolpolicy_api import snapshot

_DOUBLINGS = 64
"""More change nothing: a millisecond, doubled so often, is longer than any policy can ask for."""


def open_for_s(config: snapshot.Breaker, openings: int) -> float:
    """For the `openings`-th opening in a row: doubled each time up to `max_open_for_ms`, not at all without it."""
    longest_ms = max(config.max_open_for_ms or 0, config.open_for_ms)
    return min(config.open_for_ms << min(openings - 1, _DOUBLINGS), longest_ms) / 1000
