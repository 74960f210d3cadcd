"""Where something was found."""

from collections.abc import Iterable

Span = tuple[int, int, int]
"""Start, end as a negative number, order of the rule: orders as regions are named."""

Region = tuple[int, int, int]
"""Start, end, and the order of the rule that gives it its name."""

_SORTED_AT_ONCE = 4096
_PART_BITS = 15
_UNQUOTED = bytes.maketrans(b'"\\', b"^^")
"""A value under a key ends where its string ends."""


def in_order(spans: list[Span]) -> list[Span]:
    """Many of them part by part: to sort all at once would hold up every other thread."""
    if len(spans) <= _SORTED_AT_ONCE:
        return sorted(spans)
    parts: dict[int, list[Span]] = {}
    for span in spans:
        parts.setdefault(span[0] >> _PART_BITS, []).append(span)
    return [span for part in sorted(parts) for span in sorted(parts[part])]


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
