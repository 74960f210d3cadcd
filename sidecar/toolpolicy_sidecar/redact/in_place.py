"""The short way through a small JSON document in which something is hit: one search over the whole of it for each
rule, and what is hit replaced where it stands. Only where that is certain to end as the long way, which takes each
value by itself, would.

In ASCII without escapes a quote begins or ends a string. A match that holds no quote, and stands in a string, is found
in that string alone as well: no rule asks where its text begins, a quote is no part of a word, and a match that hid
another one would reach over a quote. What is left must be in order as a whole, so no value has to be looked at again.
"""

from collections import Counter

from toolpolicy_sidecar.redact import document
from toolpolicy_sidecar.redact.scanner import DISGUISED, SMALL_BYTES, Scanner


def redacted(scanner: Scanner, data: bytes, place: int) -> tuple[bytes, Counter[str]] | None:
    """A valid document without what is hit, and the hits. None: it has to go the long way. `place`: where it is first
    remarkable. Raises Unscannable."""
    if not scanner.in_place or len(data) > SMALL_BYTES or not data.isascii() or DISGUISED.first(data, place):
        return None
    hits = Counter[str]()
    left = scanner.redacted(data, scanner.regions(data, plain=True, at=place), hits)
    if not hits or not scanner.unremarkable(left):
        return None
    was, now = data.split(b'"'), left.split(b'"')
    if len(was) != len(now) or was[::2] != now[::2]:
        return None
    for before, after in zip(was[1::2], now[1::2], strict=True):
        if before != after and (document.looks_like_one(before) or document.is_one(after)):
            return None
    return left, hits
