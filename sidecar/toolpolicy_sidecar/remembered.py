"""What was worked out for a text that a caller chose. Agents ask for the same few again and again, so these are kept;
since they come from agents, no more and no longer ones."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

TEXTS = 512
CHARACTERS = 256


def remembered(work: Callable[[str], T]) -> Callable[[str], T]:
    """`work`, which always comes to the same for the same text."""
    kept = lru_cache(TEXTS)(work)
    return lambda text: kept(text) if len(text) <= CHARACTERS else work(text)
