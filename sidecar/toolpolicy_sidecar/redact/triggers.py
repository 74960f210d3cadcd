"""One search for all that is looked for: is any of it there, and which?

An automaton has a state for each combination of what may have begun. Names and beginnings of tokens on the one hand,
and forms of digits and random letters on the other, combine to more than fits into its memory: on documents that are
not like each other it would be made anew again and again, at a hundredth of the speed. So each of the two has its own.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache

import re2

from toolpolicy_sidecar.redact.document import LONG_EXPONENT
from toolpolicy_sidecar.redact.expression import AUTOMATON_BYTES, Bounds, Expression, options

_OF_NAMES = "(?i:"
_SHAPE = re.compile(r"(?:\\b|\(\?:\\b\|_\))?(?:\(\?:)?\[|[^A-Za-z]{0,8}\[0-9")
"""RE2 that begins with any of some characters, and not with letters of its own."""
_ANY = "any"
_FEW = 16
"""Expressions that may share an automaton, whatever they look for."""


class Apart:
    """What any of several expressions matches, each with its own automaton. `first`: the leftmost match that begins at
    a place of a text or later."""

    def __init__(self, by_kind: Mapping[str, Expression]) -> None:
        self._by_kind, self._expressions = by_kind, (*by_kind.values(),)
        alone = self._expressions[0].first if len(by_kind) == 1 else None
        self.first: Callable[[bytes, int], Bounds | None] = alone or self._first

    def and_also(self, other: Expression) -> "Apart":
        return Apart({**self._by_kind, "": other})

    def kinds_in(self, text: bytes) -> list[str]:
        """Of what any match is there."""
        return [kind for kind, expression in self._by_kind.items() if expression.first(text) is not None]

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
            {
                kind: Expression("|".join(f"(?:{each})" for each in group), most_bytes=AUTOMATON_BYTES)
                for kind, group in _by_kind([*expressions, LONG_EXPONENT]).items()
            }
        )
    except re2.error:
        return None


@cache
def signs(triggers: tuple[str, ...]) -> Callable[[bytes, Collection[str] | None], list[int]]:
    """Finds which of the triggers stand in a text, in which only these kinds do (`Apart.kinds_in`); None: nobody has
    looked."""
    found: list[tuple[str, re2.Set, list[int]]] = []
    places = {trigger: index for index, trigger in enumerate(triggers)}
    for kind, group in _by_kind(triggers).items():
        searched = re2.Set.SearchSet(options(most_bytes=AUTOMATON_BYTES))
        for trigger in group:
            searched.Add(trigger)
        searched.Compile()
        found.append((kind, searched, [places[trigger] for trigger in group]))
    return lambda text, kinds: [
        of[index]
        for kind, searched, of in found
        if kinds is None or kind in kinds or kind == _ANY
        for index in searched.Match(text) or ()
    ]


def _by_kind(expressions: Sequence[str]) -> dict[str, list[str]]:
    if len(expressions) <= _FEW:
        return {_ANY: [*expressions]} if expressions else {}
    shapes = [each for each in expressions if _SHAPE.match(each) and _OF_NAMES not in each]
    letters = [each for each in expressions if each not in shapes]
    return {kind: group for kind, group in (("letters", letters), ("shapes", shapes)) if group}
