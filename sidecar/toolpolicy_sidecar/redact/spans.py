"""Where something was found."""

import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice

from toolpolicy_sidecar.redact.expression import Bounds

Span = tuple[int, int, int]
"""Start, end as a negative number, order of the rule: orders as regions are named."""

Region = tuple[int, int, int]
"""Start, end, and the order of the rule that gives it its name."""

LONG_BYTES = 64 * 1024
"""In longer texts so much may be found that a list of it would hold up every other thread."""
PART_BITS = 14
_AT_ONCE = 64
_ints: Callable[[], "array[int]"] = partial(array, "q")
_NONE = (sys.maxsize, sys.maxsize)
_UNQUOTED = bytes.maketrans(b'"\\', b"^^")
"""A value under a key ends where its string ends."""


class Spans:
    """Of a long text, in order. They are numbers side by side and no objects: a list of so many is gone through by the
    collector of garbage at a stroke, sorted at a stroke, and freed at one."""

    def __init__(self) -> None:
        self._parts: defaultdict[int, array[int]] = defaultdict(_ints)

    def append(self, span: Span) -> None:
        self._parts[span[0] >> PART_BITS].extend(span)

    def extend(self, spans: Iterable[Span]) -> None:
        parts, found = self._parts, iter(spans)
        while some := [*islice(found, _AT_ONCE)]:
            first, last = min(some)[0] >> PART_BITS, max(some)[0] >> PART_BITS
            if first == last:
                parts[first].extend(chain.from_iterable(some))
            else:
                for span in some:
                    parts[span[0] >> PART_BITS].extend(span)

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __iter__(self) -> Iterator[Span]:
        for part in sorted(self._parts):
            numbers = iter(self._parts[part])
            yield from sorted(zip(numbers, numbers, numbers, strict=True))


class Values(defaultdict[int, set[Bounds]]):
    """Where values stand in a text: by `start >> PART_BITS`, so that they can be freed part by part, for the same
    reason."""

    def __init__(self) -> None:
        super().__init__(set)

    def has(self, bounds: Bounds) -> bool:
        return bounds in self[bounds[0] >> PART_BITS]

    def free(self) -> None:
        while self:
            self.popitem()


Found = list[Span] | Spans


def spans_in(text: bytes) -> Found:
    """To keep what is found in this text."""
    return Spans() if len(text) > LONG_BYTES else []


def outside(placeholders: Iterator[Bounds], spans: Iterable[Span]) -> Iterator[Span]:
    """Those that are in no placeholder; both in order."""
    start, end = next(placeholders, _NONE)
    for span in spans:
        while end <= span[0]:
            start, end = next(placeholders, _NONE)
        if start > span[0] or -span[1] > end:
            yield span


def regions_of(spans: Iterable[Span]) -> Iterator[Region]:
    """Spans that overlap are one region."""
    begin, end, first = 0, 0, -1
    for start, minus_end, order in spans:
        if start < end:
            end = max(end, -minus_end)
        else:
            if first >= 0:
                yield begin, end, first
            begin, end, first = start, -minus_end, order
    if first >= 0:
        yield begin, end, first


def under(key: bytes, text: bytes) -> bytes:
    """A text with the name under which it stands."""
    return b'%b="%b"' % (key, text.translate(_UNQUOTED))


def behind(spans: Iterable[Span], key: bytes, text: bytes) -> list[Span]:
    """What of that was found in both is in the text."""
    before = len(key) + 2
    return [
        (start - before, max(minus_end + before, -len(text)), order)
        for start, minus_end, order in spans
        if start >= before
    ]


def whole_characters(text: bytes, start: int, end: int) -> tuple[int, int]:
    r"""`\C` matches single bytes: no mask may leave half a character behind."""
    while start and text[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(text) and text[end] & 0xC0 == 0x80:
        end += 1
    return start, end
