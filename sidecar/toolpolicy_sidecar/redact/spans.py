"""Where something was found."""

from collections.abc import Iterable, Iterator

from toolpolicy_sidecar.redact.expression import Bounds

Span = tuple[int, int, int]
"""Start, end as a negative number, order of the rule: orders as regions are named."""

Region = tuple[int, int, int]
"""Start, end, and the order of the rule that gives it its name."""

_AT_ONCE = 4096
_PART_BITS = 15
_UNQUOTED = bytes.maketrans(b'"\\', b"^^")
"""A value under a key ends where its string ends."""


def in_order(spans: list[Span]) -> Iterable[Span]:
    """Many of them part by part, and none is left in `spans`: to sort all at once, or to free them, would hold up every
    other thread."""
    if len(spans) <= _AT_ONCE:
        return sorted(spans)
    parts: dict[int, list[Span]] = {}
    for span in spans:
        parts.setdefault(span[0] >> _PART_BITS, []).append(span)
    spans.clear()
    return (span for part in sorted(parts) for span in sorted(parts.pop(part)))


def let_go(regions: list[Region]) -> None:
    """They are needed no longer: many are freed part by part, for the same reason."""
    while regions:
        del regions[-_AT_ONCE:]


def outside(placeholders: list[Bounds], spans: Iterable[Span]) -> Iterator[Span]:
    """Those that are in no placeholder; both in order."""
    index = 0
    for span in spans:
        while index < len(placeholders) and placeholders[index][1] <= span[0]:
            index += 1
        if index < len(placeholders):
            start, end = placeholders[index]
            if start <= span[0] and -span[1] <= end:
                continue
        yield span


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
