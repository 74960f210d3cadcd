"""The short way through a small JSON document in which something is hit: one search over the whole of it for each
rule, and what is hit replaced where it stands. Only where that is certain to end as the long way, which takes each
value by itself, would. (`find`, not `in`: that one takes bytes for a number first, and words an error, which costs more
than the search.)

In ASCII without escapes a quote begins or ends a string. A match that holds no quote, and stands in a string, is found
in that string alone as well: no rule asks where its text begins, a quote is no part of a word, and a match that hid
another one would reach over a quote. What is left must be in order as a whole, so no value has to be looked at again;
then only what was taken out can have read otherwise.
"""

from collections.abc import Mapping
from typing import NamedTuple

from toolpolicy_sidecar.redact import document, wrapped
from toolpolicy_sidecar.redact.expression import Bounds
from toolpolicy_sidecar.redact.scanner import ANYWHERE, DISGUISED, SMALL_BYTES, Scanner

FEW_HITS = 4
"""With more of them it is better to search for all of them first."""
MOST_HITS = 64
"""With more of them the long way is not much longer, and it knows when a pattern takes too long."""

_SHAPE = bytes(
    ord("%" if character in b"\\%&+" else "a" if character in wrapped.CHARACTERS else " ")
    for character in range(256)
)
_MAY_OPEN = frozenset(b' \t\r\n{["')
_RUN = b"a" * wrapped.LEAST_CHARACTERS
_AROUND = wrapped.LEAST_CHARACTERS - 1


class Changed(NamedTuple):
    """`value` is what came in, but for what stood between `start` and `end`."""

    value: bytes
    hits: Mapping[str, int]
    start: int
    end: int


def redacted(scanner: Scanner, data: bytes, first: Bounds) -> Changed | None:
    """A valid document without what is hit. None: it has to go the long way. `first`: what in it is first
    remarkable."""
    if not scanner.in_place:
        return None
    if scanner.alone and first is not ANYWHERE:
        found = _one_by_one(scanner, data, first)
        if found is not None:
            return found
    return _at_once(scanner, data, first[0])


def _one_by_one(scanner: Scanner, data: bytes, first: Bounds) -> Changed | None:
    """Of a single rule: what is remarkable is what it hits, unless it looks like something else, and what is left of
    the string tells in the same search whether there is more."""
    hits: dict[str, int] = {}
    text, start, end, after = data, *first, 0
    for _ in range(FEW_HITS):
        hit, shape = text[start:end], text[start : end + _AROUND].translate(_SHAPE)
        if start < after or shape.find(b"%") >= 0 or shape.find(_RUN) >= 0:
            return None
        if hit.find(b'"') >= 0 or not hit.strip(scanner.untold):
            return None
        opened = text.rfind(b'"', 0, start) + 1
        may_open = opened == start or text[opened] in _MAY_OPEN
        if may_open and document.looks_like_one(text[opened : text.find(b'"', end)]):
            return None
        put = scanner.replacements.one(0, hit, hits)
        text, after = text[:start] + put + text[end:], start + len(put)
        if may_open and document.is_one(text[opened : text.find(b'"', after)]):
            return None
        found = scanner.search(text, opened)
        if found is None:
            return Changed(text, hits, first[0], len(data) - len(text) + after)
        start, end = found
    return None


def _at_once(scanner: Scanner, data: bytes, place: int) -> Changed | None:
    """Of several rules, or many hits. `place`: nothing is remarkable before."""
    if len(data) > SMALL_BYTES or data.find(b"\\") >= 0 or not data.isascii():
        return None
    regions = scanner.few_regions(data, place, MOST_HITS)
    if not regions:
        return None
    hits: dict[str, int] = {}
    pieces: list[bytes] = []
    begins: list[int] = []
    at = shift = 0
    for start, end, order in regions:
        hit = data[start:end]
        if hit.find(b'"') >= 0 or not data.count(b'"', 0, start) % 2:
            return None
        if _may_read_otherwise(data, start, end, place):
            return None
        opened = data.rfind(b'"', at, start) + 1
        # A string that no hit stood in before, and that may be a document itself, now or then.
        if opened and (data[opened] in _MAY_OPEN or opened == start):
            if document.looks_like_one(data[opened : data.find(b'"', end)]):
                return None
            begins.append(opened + shift)
        put = scanner.replacements.one(order, hit, hits)
        pieces += (data[at:start], put)
        shift += len(put) - len(hit)
        at = end
    left = b"".join([*pieces, data[at:]])
    if scanner.remarkable(left) is not None:
        return None
    for begin in begins:
        if document.is_one(left[begin : left.find(b'"', begin)]):
            return None
    return Changed(left, hits, regions[0][0], at)


def _may_read_otherwise(data: bytes, start: int, end: int, place: int) -> bool:
    """Whether something begins or ends in `start:end` that reads otherwise when it is decoded."""
    shape = data[max(0, start - _AROUND) : end + _AROUND].translate(_SHAPE)
    disguises = shape.find(b"%") >= 0 or shape.find(_RUN) >= 0
    return disguises and DISGUISED.first(data, place) is not None
