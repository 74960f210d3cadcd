"""What a policy never redacts, although it is found."""

from collections.abc import Sequence

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.expression import compiled
from toolpolicy_sidecar.redact.placeholder import comparable


class Allowed:
    def __init__(self, allowed: Sequence[snapshot.Allowed]) -> None:
        """Raises InvalidPattern."""
        self._texts = frozenset(comparable(item.text.encode()) for item in allowed if item.text is not None)
        self._expressions = [
            compiled(f"allow[{index}]", item.regex)
            for index, item in enumerate(allowed)
            if item.regex is not None
        ]

    def __bool__(self) -> bool:
        return bool(self._texts or self._expressions)

    def __contains__(self, hit: bytes) -> bool:
        """Whether the whole of it is allowed."""
        return comparable(hit) in self._texts or any(
            expression.covers(hit) for expression in self._expressions
        )
