"""Payment cards where there are thousands of groups of digits: all places are asked at once.

A long integer holds one byte, a lane, for each place of a text. To shift it by a byte and to add it to itself adds
each digit to the next one, of all places in one step; a few steps give the sum of the sixteen digits that begin at each
place, which no lane is too small for. To go from bytes to such an integer and back costs five times as much as a step,
so the bits of a lane say all that has to be known of a character.
"""

from collections.abc import Iterator

from toolpolicy_sidecar.redact.detectors.cards import (
    CARD_LENGTHS,
    DIGITS,
    LETTERS,
    are_of_a_card,
    heads_of,
    is_article,
    is_of_a_name,
    lengths_of,
    payment_card,
)
from toolpolicy_sidecar.redact.detectors.crowd import REACH_BYTES, WINDOW_BYTES, in_crowds
from toolpolicy_sidecar.redact.expression import Bounds, Expression

_DIGIT, _GROUP, _BETWEEN, _BEFORE_NO_CARD = 5, 4, 6, 7
"""Bits. A digit has its value in the lowest four, and the second bit if it begins a group, and has taken the place of
the separator before it."""
_LETTER, _PLUS, _DOT, _OTHER = 0x81, 0x80, 0x01, 0x02
_SHAPE = bytes(
    1 << _DIGIT | character & 0x0F
    if character in DIGITS
    else _LETTER
    if character in LETTERS
    else {b"+": _PLUS, b".": _DOT, b" ": 1 << _BETWEEN, b"-": 1 << _BETWEEN}.get(bytes((character,)), _OTHER)
    for character in range(256)
)
_WRITTEN = bytes(0x30 | lane & 0x0F if lane >> _DIGIT == 1 else ord("x") for lane in range(256))
_BEGINS_GROUP = bytes(lane >> _GROUP == 0b11 for lane in range(256))
_TENFOLD = bytes(total > 0 and total % 10 == 0 for total in range(256))
_ONES = int.from_bytes(b"\1" * (WINDOW_BYTES + 2 * REACH_BYTES), "little")
_THREES = 3 * _ONES
_HEADS = {length: bytes(two in heads_of(length) for two in range(256)) for length in CARD_LENGTHS}
"""Whether the first two digits may be those of a card so long."""


def every_card(text: bytes, candidate: Expression) -> Iterator[Bounds]:
    """All that `payment_card` finds in what `candidate` matches."""
    return in_crowds(text, candidate, payment_card, _cards_that_begin_in)


def _cards_that_begin_in(text: bytes, start: int, end: int) -> tuple[list[Bounds], int]:
    before = max(0, start - 2)  # a letter, or the fraction of a number
    shape = _joined(b"\xff%b\xff" % text[before : end + REACH_BYTES])
    cards = _cards(shape)
    groups = shape.translate(_BEGINS_GROUP)
    place, counted = before - 1, 0
    found: list[Bounds] = []
    for begin in sorted(cards):
        place += groups.count(1, counted, begin + 1)
        counted = begin + 1
        if start <= begin + place < end:
            stop = begin + cards[begin]
            bounds = begin + place, stop + place + groups.count(1, counted, stop)
            if not is_of_a_name(text, *bounds):
                found.append(bounds)
    return found, end


def _joined(text: bytes) -> bytes:
    """The shape of a text without the separators before groups, of which the first digits are marked instead."""
    shape = int.from_bytes(text.translate(_SHAPE), "little")
    groups = shape >> _DIGIT & shape >> _BETWEEN << 8 & _ONES
    marked = shape + (groups << _GROUP) - (groups >> 8 << _BETWEEN)
    return marked.to_bytes(len(text), "little").translate(None, b"\0")


def _cards(shape: bytes) -> dict[int, int]:
    """Where they begin, and how many digits they have."""
    lanes = int.from_bytes(shape, "little")
    digit = lanes >> _DIGIT & _ONES
    group = lanes >> _GROUP & digit
    after_digit = digit << 8
    before_no_card = lanes >> _BEFORE_NO_CARD & _ONES
    a_bit = lanes & (_ONES ^ digit)  # of a letter or a dot
    no_card_after = before_no_card | (a_bit & after_digit)
    two = digit & digit >> 8
    four = two & two >> 16
    begins = group | digit ^ (digit & (after_digit | no_card_after << 8))
    begins &= four & four >> 32 & four >> 64
    if not begins:
        return {}
    ends = after_digit & (_ONES ^ ((digit ^ group) | (a_bit & before_no_card)))
    values = lanes & digit * 0x0F
    sums = _Sums(values)
    heads = (10 * values + (values >> 8)).to_bytes(len(shape), "little")
    found: dict[int, int] = {}
    for length in CARD_LENGTHS:
        places = begins & ends >> 8 * length
        if places:
            places &= int.from_bytes(heads.translate(_HEADS[length]), "little")
            totals = (sums.of(length) & places * 0xFF).to_bytes(len(shape), "little")
            marks, at = totals.translate(_TENFOLD), -1
            while (at := marks.find(1, at + 1)) >= 0:
                number = shape[at : at + length].translate(_WRITTEN)
                if (
                    at not in found
                    and length in lengths_of(number)
                    and number.isdigit()
                    and not is_article(number)
                    and are_of_a_card(_sizes(shape, at, at + length), alone=_is_alone(shape, at, at + length))
                ):
                    found[at] = length
    return found


def _sizes(shape: bytes, start: int, end: int) -> list[int]:
    """Of the groups of a card."""
    return [1 + len(rest) for rest in shape[start + 1 : end].translate(_BEGINS_GROUP).split(b"\1")]


def _is_alone(shape: bytes, start: int, end: int) -> bool:
    """There is no other group in its row."""
    return shape[start - 1] >> _DIGIT != 1 and shape[end] >> _DIGIT != 1


class _Sums:
    """Luhn's, of the digits that begin at each place."""

    def __init__(self, digits: int) -> None:
        self._single = digits
        doubled = 2 * digits - 9 * (digits + _THREES >> 3 & _ONES)  # three more than five is eight
        self._two = doubled + (digits >> 8)
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
