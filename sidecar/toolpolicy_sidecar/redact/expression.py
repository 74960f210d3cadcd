"""RE2, as it is used everywhere here: over bytes, for where a match begins and ends."""

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import filterfalse
from operator import itemgetter

import re2

from toolpolicy_sidecar.redact.verdict import InvalidPattern

Bounds = tuple[int, int]

_UNANCHORED = re2._re2.RE2.Anchor.UNANCHORED  # noqa: SLF001 -- see Expression
_BEGUN = re2._re2.RE2.Anchor.ANCHOR_START  # noqa: SLF001
_WHOLE = re2._re2.RE2.Anchor.ANCHOR_BOTH  # noqa: SLF001
_NOWHERE = (-1, -1)
_END = itemgetter(1)
_EQUALS = frozenset(b":=")
_NAME_BYTES = 64


class Expression:
    """Asks the engine itself: the layer of Python that `re2` puts around it costs twice as much as a search in a
    short text. Raises re2.error."""

    __slots__ = ("_match",)

    def __init__(self, pattern: str, *, captures: bool = False, most_bytes: int | None = None) -> None:
        """`most_bytes` as in `options`."""
        of = options(captures=captures, most_bytes=most_bytes)
        self._match = re2._Regexp(pattern, of)._regexp.Match  # noqa: SLF001

    def first(self, text: bytes, at: int = 0) -> Bounds | None:
        """The leftmost match that begins at `at` or later."""
        found: Bounds = self._match(_UNANCHORED, text, at, len(text))[0]
        return None if found == _NOWHERE else found

    def each(self, text: bytes, at: int = 0) -> Iterator[Bounds]:
        """Of every match from `at` on, none inside of another, the group that reaches farthest; without groups the
        match."""
        size = len(text)
        while at <= size:
            spans: list[Bounds] = self._match(_UNANCHORED, text, at, size)
            found = spans[0]
            if found == _NOWHERE:
                return
            yield found if len(spans) == 1 else max(spans[1:], key=_END)
            at = found[1] if found[1] > at else at + 1

    def reach(self, text: bytes, at: int) -> int:
        """Where the match ends that begins here; `at`: there is none."""
        found: Bounds = self._match(_BEGUN, text, at, len(text))[0]
        return max(at, found[1])

    def covers(self, text: bytes) -> bool:
        """Whether the whole text matches."""
        return bool(self._match(_WHOLE, text, 0, len(text))[0] != _NOWHERE)


class Candidates(Expression):
    """A detector's expression, with short cuts that lead to the same.

    `value`: where it matches all of a match, its group is the one that takes part. The engine's own groups cost as much
    as three searches. `near`: if it matches right behind the last match, its group, which it ends with, is the next
    one: of many that stand side by side, each is found in a quarter of the time.

    A group may reach over what another match begins with, as in `token: api_key: …` and `key=…key=…`: where a colon
    or an equals sign says that it ends in a name, the next match may begin in it. Not with `near`: such are numbers.
    """

    __slots__ = ("__dict__", "_near", "_value")

    def __init__(
        self, pattern: str, value: re.Pattern[bytes] | None = None, near: re.Pattern[bytes] | None = None
    ) -> None:
        self._groups = "(" in pattern.replace("(?", "")
        super().__init__(pattern, captures=self._groups and value is None)
        self._pattern, self._value, self._near = pattern, value, near

    @cached_property
    def _grouped(self) -> Expression:
        return Expression(self._pattern, captures=True)

    def each(self, text: bytes, at: int = 0) -> Iterator[Bounds]:
        return self._each(text, at) if self._groups else super().each(text, at)

    def _each(self, text: bytes, at: int) -> Iterator[Bounds]:
        value, near = self._value, self._near
        size, match, named = len(text), self._match, 0
        match_beside = near.match if near else None
        while at <= size:
            spans: list[Bounds] = match(_UNANCHORED, text, at, size)
            found = spans[0]
            if found == _NOWHERE:
                return
            start, at = found
            if value is not None:
                known = value.match(text, start, at)
                found = known.span(1) if known else next(self._grouped.each(text, start))
            else:
                found = found if len(spans) == 1 else max(spans[1:], key=_END)
            yield found
            begin, end = found
            ends_in_name = end > 0 and (text[end - 1] in _EQUALS or (end < size and text[end] in _EQUALS))
            if ends_in_name and near is None and start < begin >= named:
                named, at = at, max(begin, end - _NAME_BYTES)  # once for each, or it would be quadratic
            while match_beside is not None and (beside := match_beside(text, at)) is not None:
                found = beside.span(1)
                at = found[1]
                yield found


class Others(Expression):
    """All matches but those that are known."""

    __slots__ = ("_are_known", "_of")

    def __init__(self, of: Expression, are_known: Callable[[Bounds], bool]) -> None:
        self._match, self._of, self._are_known = of._match, of, are_known  # noqa: SLF001 -- our own

    def each(self, text: bytes, at: int = 0) -> Iterator[Bounds]:
        return filterfalse(self._are_known, self._of.each(text, at))


AUTOMATON_BYTES = 64 * 1024 * 1024
"""What RE2 may keep of the automaton of half of all triggers. It reckons with far more than it takes: with the half of
this it begins anew again and again on documents that are not like each other, with this the process grows by 24 MB at
most."""


def options(*, captures: bool = False, most_bytes: int | None = None) -> re2.Options:
    """`most_bytes`: what an expression may take, for its automaton too; None: RE2's own limit."""
    found = re2.Options()
    if most_bytes is not None:
        found.max_mem = most_bytes
    found.log_errors = False
    found.never_capture = not captures  # only where a match begins and ends: the fast engines suffice
    return found


def compiled(name: str, expression: str) -> Expression:
    """A policy's own. Raises InvalidPattern, with this name."""
    try:
        return Expression(expression)
    except re2.error as error:
        detail = error.args[0] if error.args else ""
        raise InvalidPattern(
            name, detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        ) from None
