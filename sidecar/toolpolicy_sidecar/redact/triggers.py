"""One search for all that is looked for: is any of it there, and which?

An automaton has a state for each combination of what may have begun. Names and beginnings of tokens on the one hand,
and forms of digits and random letters on the other, combine to more than fits into its memory: on documents that are
not like each other it would be made anew again and again, at a hundredth of the speed. So each of the two has its own.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import re2

from toolpolicy_sidecar.redact.document import LONG_EXPONENT
from toolpolicy_sidecar.redact.expression import AUTOMATON_BYTES, Bounds, Expression, options

_OF_NAMES = "(?i:"
_SHAPE = re.compile(r"(?:\\b|\(\?:\\b\|_\))?(?:\(\?:)?\[|[^A-Za-z]{0,8}\[0-9")
"""RE2 that begins with any of some characters, and not with letters of its own."""
_FEW = 16
"""Expressions that may share an automaton, whatever they look for."""


class Apart:
    """What any of several expressions matches, each with its own automaton. `first`: the leftmost match that begins at
    a place of a text or later."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._expressions = expressions
        alone = len(expressions) == 1
        self.first: Callable[[bytes, int], Bounds | None] = expressions[0].first if alone else self._first

    def and_also(self, other: Expression) -> "Apart":
        return Apart([*self._expressions, other])

    def stands_in(self, text: bytes) -> bool:
        """Whether there is any match."""
        return any(expression.first(text) is not None for expression in self._expressions)

    def walk(self, text: bytes) -> Callable[[int], Bounds | None]:
        """As `first`, for places of one text, each behind the last. No expression looks twice at what it has passed."""
        found: list[Bounds | None] = [(-1, -1)] * len(self._expressions)

        def first(at: int) -> Bounds | None:
            for index, expression in enumerate(self._expressions):
                known = found[index]
                if known is not None and known[0] < at:
                    found[index] = expression.first(text, at)
            return min(filter(None, found), default=None)

        return first

    def _first(self, text: bytes, at: int) -> Bounds | None:
        found = [expression.first(text, at) for expression in self._expressions]
        return min(filter(None, found), default=None)


def union(expressions: Iterable[str]) -> Apart | None:
    """What stands in everything that any rule hits, and what must be written out to see whether one does. None
    when it would be too large: then every text may hit."""
    try:
        return Apart(
            [
                Expression("|".join(f"(?:{each})" for each in group), most_bytes=AUTOMATON_BYTES)
                for group in _groups([*expressions, LONG_EXPONENT])
            ]
        )
    except re2.error:
        return None


@cache
def signs(triggers: tuple[str, ...]) -> Callable[[bytes], list[int]]:
    """Finds which of the triggers stand in a text."""
    found: list[tuple[re2.Set, list[int]]] = []
    places = {trigger: index for index, trigger in enumerate(triggers)}
    for group in _groups(triggers):
        searched = re2.Set.SearchSet(options(most_bytes=AUTOMATON_BYTES))
        for trigger in group:
            searched.Add(trigger)
        searched.Compile()
        found.append((searched, [places[trigger] for trigger in group]))
    return lambda text: [of[index] for searched, of in found for index in searched.Match(text) or ()]


def _groups(expressions: Sequence[str]) -> list[list[str]]:
    if len(expressions) <= _FEW:
        return [[*expressions]] if expressions else []
    shapes = [each for each in expressions if _SHAPE.match(each) and _OF_NAMES not in each]
    letters = [each for each in expressions if each not in shapes]
    return [group for group in (letters, shapes) if group]
