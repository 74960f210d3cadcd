"""Payment cards where there are thousands of groups of digits: all places are asked at once.

A long integer holds one byte, a lane, for each place of a text. To shift it by a byte and to add it to itself adds
each digit to the next one, of all places in one step; a few steps give the sum of the sixteen digits that begin at each
place, which no lane is too small for.
"""

from collections.abc import Iterator

from toolpolicy_sidecar.redact.detectors.cards import (
    CARD_LENGTHS,
    DIGITS,
    LETTERS,
    is_article,
    lengths_of,
    payment_card,
)
from toolpolicy_sidecar.redact.expression import Bounds, Expression

_WINDOW_BYTES = 32 * 1024
"""Each step takes some ten microseconds on so much."""
_REACH_BYTES = 64
"""No card with its separators is as long."""
_MANY = 8
_GAP_BYTES = 64
"""After so many candidates with less between them, or in a run as long as they are, all places are asked at once."""

_GROUPS = b"abcdefghij"
"""Digits that begin a group, and have taken the place of the separator before it."""
_LETTER, _PLUS, _DOT, _BETWEEN, _OTHER = b"L+. x"
_SHAPE = bytes(
    character
    if character in DIGITS or character in b".+"
    else _LETTER
    if character in LETTERS
    else _BETWEEN
    if character in b" -"
    else _OTHER
    for character in range(256)
)


def _ones(characters: bytes) -> bytes:
    """A table that makes these 1 and all others 0."""
    return bytes(character in characters for character in range(256))


_DIGIT, _GROUP = _ones(b"0123456789" + _GROUPS), _ones(_GROUPS)
_AFTER_A_CARD = _ones(_GROUPS + bytes((_PLUS, _DOT, _BETWEEN, _OTHER)))
_BEFORE_NO_CARD = _ones(bytes((_LETTER, _PLUS)))
_A_DOT = _ones(bytes((_DOT,)))
_PLAIN = bytes.maketrans(_GROUPS, b"0123456789")
_VALUES = bytes(max(0, b"0123456789".find(character)) for character in range(256))
_DOUBLED = bytes(sum(divmod(2 * value, 10)) for value in range(10)) + bytes(246)
_TENFOLD = bytes(total % 10 == 0 for total in range(256))


def every_card(text: bytes, candidate: Expression) -> Iterator[Bounds]:
    """All that `payment_card` finds in what `candidate` matches."""
    at = near = last = 0
    while (match := candidate.first(text, at)) is not None:
        start, end = match
        near = near + 1 if start - last < _GAP_BYTES else 0
        if near < _MANY and end - start < _MANY * _GAP_BYTES:
            yield from payment_card(text, start, end)
            at = last = end
        else:
            at = start
            while at < end:  # to ask for the rest of a run again and again would be quadratic
                yield from _cards_that_begin_in(text, at, at + _WINDOW_BYTES)
                at += _WINDOW_BYTES
            last = at


def _cards_that_begin_in(text: bytes, start: int, end: int) -> Iterator[Bounds]:
    before = max(0, start - 2)  # a letter, or the fraction of a number
    shape = b"x%bx" % text[before : end + _REACH_BYTES].translate(_SHAPE)
    for digit, group in zip(b"0123456789", _GROUPS, strict=True):
        shape = shape.replace(bytes((_BETWEEN, digit)), bytes((group,)))
    cards = _cards(shape)
    groups = shape.translate(_GROUP)
    place, counted = before - 1, 0
    for begin in sorted(cards):
        place += groups.count(1, counted, begin + 1)
        counted = begin + 1
        if start <= begin + place < end:
            stop = begin + cards[begin]
            yield begin + place, stop + place + groups.count(1, counted, stop)


def _cards(shape: bytes) -> dict[int, int]:
    """Where they begin, and how many digits they have."""
    size = len(shape)

    def lanes(table: bytes, characters: bytes = shape) -> int:
        return int.from_bytes(characters.translate(table), "little")

    digit, group = lanes(_DIGIT), lanes(_GROUP)
    after_digit = digit << 8
    no_card_after = lanes(_BEFORE_NO_CARD) | (lanes(_A_DOT) & after_digit)
    begins = group | (digit & ~after_digit & ~(no_card_after << 8))
    if not begins:
        return {}
    ends = lanes(_AFTER_A_CARD)
    two = digit & digit >> 8
    four = two & two >> 16
    eight = four & four >> 32
    sums = _Sums(shape)
    found: dict[int, int] = {}
    for length in CARD_LENGTHS:
        places = begins & ends >> 8 * length & eight & eight >> 32 & eight >> 8 * (length - 8)
        if places:
            places &= lanes(_TENFOLD, sums.of(length).to_bytes(size, "little"))
            marks, at = places.to_bytes(size, "little"), -1
            while (at := marks.find(1, at + 1)) >= 0:
                number = shape[at : at + length].translate(_PLAIN)
                if at not in found and length in lengths_of(number) and not is_article(number):
                    found[at] = length
    return found


class _Sums:
    """Luhn's, of the digits that begin at each place."""

    def __init__(self, shape: bytes) -> None:
        values = shape.translate(_PLAIN).translate(_VALUES)
        self._single = int.from_bytes(values, "little")
        doubled = int.from_bytes(values.translate(_DOUBLED), "little")
        self._two = doubled + (self._single >> 8)
        self._four = self._two + (self._two >> 16)
        self._eight = self._four + (self._four >> 32)

    def of(self, length: int) -> int:
        """`length`: 12 to 19."""
        if length % 2:
            return self._single + (self.of(length - 1) >> 8)
        if length == 12:
            return self._eight + (self._four >> 64)
        if length == 14:
            return self.of(12) + (self._two >> 96)
        sixteen = self._eight + (self._eight >> 64)
        return sixteen if length == 16 else sixteen + (self._two >> 128)
