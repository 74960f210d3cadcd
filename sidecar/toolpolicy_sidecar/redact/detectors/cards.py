"""Payment cards in runs of digits."""

import re
from collections.abc import Iterator
from itertools import accumulate, count

from toolpolicy_sidecar.redact.detectors.checksums import ean13, luhn

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
    ("JCB", 3500, 3599, frozenset({16, 17, 18, 19})),
    ("JCB", 1800, 1800, frozenset({15})),
    ("JCB", 2131, 2131, frozenset({15})),
    ("UnionPay", 62, 62, frozenset({16, 17, 18, 19})),
    ("Maestro", 5018, 5018, frozenset(range(12, 20))),
    ("Maestro", 5020, 5020, frozenset(range(12, 20))),
    ("Maestro", 5038, 5038, frozenset(range(12, 20))),
    ("Maestro", 56, 58, frozenset(range(12, 20))),
    ("Maestro", 6390, 6390, frozenset(range(12, 20))),
    ("Maestro", 5893, 5893, frozenset(range(12, 20))),
    ("Maestro", 6304, 6304, frozenset(range(12, 20))),
    ("Maestro", 6759, 6763, frozenset(range(12, 20))),
    ("Maestro", 6703, 6703, frozenset({16, 17, 18, 19})),
    ("Maestro", 6706, 6706, frozenset({16, 17, 18, 19})),
    ("Maestro", 6709, 6709, frozenset({16, 17, 18, 19})),
    ("Maestro", 6771, 6771, frozenset({16, 17, 18, 19})),
    ("Dankort", 5019, 5019, frozenset({16})),
    ("Switch", 6331, 6331, frozenset({16, 18, 19})),
    ("Switch", 6333, 6333, frozenset({16, 18, 19})),
    ("Solo", 6334, 6334, frozenset({16, 18, 19})),
    ("Solo", 6767, 6767, frozenset({16, 18, 19})),
    ("Elo", 5063, 5063, frozenset({16})),
    ("Elo", 5066, 5067, frozenset({16})),
    ("Elo", 5090, 5099, frozenset({16})),
    ("Elo", 6362, 6363, frozenset({16})),
    ("RuPay", 508, 508, frozenset({16})),
    ("RuPay", 606, 608, frozenset({16})),
    ("Verve", 5060, 5061, frozenset({16, 18, 19})),
    ("Mir", 2200, 2204, frozenset({16, 17, 18, 19})),
)


def _by_prefix() -> dict[bytes, tuple[int, ...]]:
    """First four digits → lengths, the longest first."""
    table: dict[bytes, frozenset[int]] = {}
    for _, low, high, lengths in CARD_ISSUERS:
        scale = 10 ** (4 - len(str(low)))
        for prefix in range(low * scale, (high + 1) * scale):
            key = b"%d" % prefix
            table[key] = table.get(key, frozenset()) | lengths
    return {key: tuple(sorted(lengths, reverse=True)) for key, lengths in table.items()}


_LENGTHS = _by_prefix()
CARD_LENGTHS = sorted({length for _, _, _, lengths in CARD_ISSUERS for length in lengths}, reverse=True)
"""The longest first."""
LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
NO_CARD_AFTER = LETTERS | frozenset(b"+")  # a plus begins a telephone number
DIGITS = frozenset(b"0123456789")


def payment_card(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Every stretch of whole digit groups that has an issuer's prefix and length and a right check digit.

    A candidate is a run of digits with single spaces or dashes; a card may stand anywhere in it, between
    an order number and a date. It begins and ends where a group does, never next to a letter, it is
    not the fraction of a number, and its groups are those of a card. Stretches may overlap: which of them is the
    card, nobody can tell.
    """
    while start and text[start - 1] in DIGITS:
        start -= 1
    groups = text[start:end].replace(b"-", b" ").split(b" ")
    digits = b"".join(groups)
    sizes = [*accumulate(map(len, groups), initial=0)]  # before each group, and of all
    begins = [
        (group, size, lengths)
        for group, size in enumerate(sizes)
        if (lengths := _LENGTHS.get(digits[size : size + 4]))
    ]
    if not begins:
        return
    if not begins[0][0] and start and (text[start - 1] in NO_CARD_AFTER or _is_fraction(text, start)):
        del begins[0]
    ends = dict(zip(sizes[1:], count(), strict=False))
    if end < len(text) and text[end] in LETTERS:
        del ends[sizes[-1]]
    known: dict[bytes, bool] = {}
    for group, size, lengths in begins:
        for length in lengths:
            if size + length not in ends:
                continue
            number = digits[size : size + length]
            if number not in known:
                known[number] = luhn(number) and not is_article(number)
            if not known[number]:
                continue
            last = ends[size + length]
            alone = (
                group == 0
                and last == len(groups) - 1
                and not _IN_A_ROW.search(text, max(0, start - 2), start)
            )
            if are_of_a_card([*map(len, groups[group : last + 1])], alone=alone):
                bounds = start + size + group, start + size + length + last
                if not is_of_a_name(text, *bounds):
                    yield bounds
                break


def lengths_of(digits: bytes) -> tuple[int, ...]:
    """Of cards whose numbers begin so; empty: there are none."""
    return _LENGTHS.get(digits[:4], ())


def heads_of(length: int) -> frozenset[int]:
    """The first two digits of cards with so many."""
    return frozenset(int(prefix[:2]) for prefix, lengths in _LENGTHS.items() if length in lengths)


def are_of_a_card(sizes: list[int], *, alone: bool) -> bool:
    """Four digits, then groups of four and more, the last one may be shorter. Others, large or all alike, only where
    nothing else is in the row: measurements, bytes and draws of lots are written so."""
    rest = sizes[:-1]
    if min(rest, default=_LEAST_GROUP) >= _LEAST_GROUP:
        return alone or not rest or rest[0] == _LEAST_GROUP
    return alone and len(set(rest)) == 1 and sizes[-1] <= sizes[0]


_LEAST_GROUP = 4
_IN_A_ROW = re.compile(rb"[0-9][ -]\Z")


def is_article(digits: bytes) -> bool:
    """Thirteen digits, as on old cards, may as well be the number of an article, which has a check digit too."""
    return len(digits) == 13 and ean13(digits)


_END_OF_UUID = re.compile(rb"-[0-9]{4}-[0-9]{12}")
_ACCOUNT_OF_ARN = re.compile(rb":[0-9]{12}:")


def is_of_a_name(text: bytes, start: int, end: int) -> bool:
    """The last two groups of a UUID, which are all digits where somebody typed it; the account in a name of AWS."""
    return start > 0 and (
        _END_OF_UUID.fullmatch(text, start - 1, end) is not None
        or _ACCOUNT_OF_ARN.fullmatch(text, start - 1, end + 1) is not None
    )


def _is_fraction(text: bytes, start: int) -> bool:
    return start >= 2 and text[start - 1] == ord(".") and text[start - 2] in DIGITS
