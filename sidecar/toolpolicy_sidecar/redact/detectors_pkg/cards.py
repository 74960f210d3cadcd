"""Is what looks like one really one? A validator gets the whole text and a candidate's span, both in
bytes of UTF-8, and yields the spans that are real: none, a part of the candidate, or several.
"""

import re
from collections.abc import Callable, Iterator

Validator = Callable[[bytes, int, int], Iterator[tuple[int, int]]]

CARD_ISSUERS: tuple[tuple[str, int, int, frozenset[int]], ...] = (
    # name, first and last prefix, lengths (public issuer identification ranges, ISO/IEC 7812)
    ("Visa", 4, 4, frozenset({13, 16, 19})),
    ("Mastercard", 51, 55, frozenset({16})),
    ("Mastercard", 2221, 2720, frozenset({16})),
    ("American Express", 34, 34, frozenset({15})),
    ("American Express", 37, 37, frozenset({15})),
    ("Diners Club", 300, 305, frozenset({14, 16, 19})),
    ("Diners Club", 3095, 3095, frozenset({14, 16, 19})),
    ("Diners Club", 36, 36, frozenset({14, 16, 19})),
    ("Diners Club", 38, 39, frozenset({14, 16, 19})),
    ("Discover", 6011, 6011, frozenset({16, 17, 18, 19})),
    ("Discover", 644, 649, frozenset({16, 17, 18, 19})),
    ("Discover", 65, 65, frozenset({16, 17, 18, 19})),
    ("JCB", 3528, 3589, frozenset({16, 17, 18, 19})),
    ("UnionPay", 62, 62, frozenset({16, 17, 18, 19})),
    ("Maestro", 5018, 5018, frozenset(range(13, 20))),
    ("Maestro", 5020, 5020, frozenset(range(13, 20))),
    ("Maestro", 5038, 5038, frozenset(range(13, 20))),
    ("Maestro", 5893, 5893, frozenset(range(13, 20))),
    ("Maestro", 6304, 6304, frozenset(range(13, 20))),
    ("Maestro", 6759, 6763, frozenset(range(13, 20))),
    ("RuPay", 508, 508, frozenset({16})),
    ("RuPay", 606, 608, frozenset({16})),
    ("Verve", 5060, 5061, frozenset({16, 18, 19})),
    ("Mir", 2200, 2204, frozenset({16, 17, 18, 19})),
)


def _by_prefix() -> dict[bytes, frozenset[int]]:
    """First four digits → lengths."""
    table: dict[bytes, frozenset[int]] = {}
    for _, low, high, lengths in CARD_ISSUERS:
        scale = 10 ** (4 - len(str(low)))
        for prefix in range(low * scale, (high + 1) * scale):
            key = b"%d" % prefix
            table[key] = table.get(key, frozenset()) | lengths
    return table


_LENGTHS = _by_prefix()
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
_GROUP = re.compile(rb"[0-9]+")
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NO_CARD_AFTER = _LETTERS | frozenset(b"+")  # a plus begins a telephone number
_DIGITS = frozenset(b"0123456789")
_NO_LENGTHS: frozenset[int] = frozenset()


def payment_card(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Every stretch of whole digit groups that has an issuer's prefix and length and a right check digit.

    A candidate is a run of digits with single spaces or dashes; a card may stand anywhere in it, between
    an order number and a date. It begins and ends where a group does, never next to a letter, and it is
    not the fraction of a number. Stretches may overlap: which of them is the card, nobody can tell.
    """
    while start and text[start - 1] in _DIGITS:
        start -= 1
    digits = text[start:end].translate(None, b" -")
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    ends: dict[int, int] = {}  # index in digits after a group → position in the text after it
    size = 0
    for begin, stop in groups:
        size += stop - begin
        ends[size] = stop
    if end < len(text) and text[end] in _LETTERS:
        del ends[size]
    tainted = start > 0 and (text[start - 1] in _NO_CARD_AFTER or _is_fraction(text, start))
    at = 0
    for begin, stop in groups:
        if not (tainted and at == 0):
            for length in sorted(_LENGTHS.get(digits[at : at + 4], _NO_LENGTHS), reverse=True):
                if at + length in ends and luhn(digits[at : at + length]):
                    yield begin, ends[at + length]
                    break
        at += stop - begin


def _is_fraction(text: bytes, start: int) -> bool:
    return start >= 2 and text[start - 1] == ord(".") and text[start - 2] in _DIGITS


def luhn(digits: bytes) -> bool:
    """The check digit of ISO/IEC 7812-1, over ASCII digits."""
    total = sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED))
    return (total - ord("0") * len(digits)) % 10 == 0


_FILE_SUFFIXES = frozenset(
    {b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"json", b"html"}
)


def email(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not the name of a file for high-resolution screens, `logo@2x.png`."""
    if text[start:end].rpartition(b".")[2].lower() not in _FILE_SUFFIXES:
        yield start, end
