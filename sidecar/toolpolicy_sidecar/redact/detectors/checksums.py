"""Check digits of national numbers: over the digits, or letters and digits, without separators.

Each is named after its rule; `identity.py` says which number has which, and where that is written.
"""

from collections.abc import Sequence
from itertools import accumulate, cycle


def luhn(digits: bytes) -> bool:
    """ISO/IEC 7812-1, over ASCII digits."""
    total = sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED))
    return (total - ord("0") * len(digits)) % 10 == 0


_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")

_DIHEDRAL = tuple(
    tuple(
        ((i + j) % 5 if j < 5 else (i + j) % 5 + 5) if i < 5 else ((i - j) % 5 + 5 if j < 5 else (i - j) % 5)
        for j in range(10)
    )
    for i in range(10)
)
_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def verhoeff(digits: bytes) -> bool:
    """Verhoeff's scheme over the dihedral group of ten elements, for twelve digits: Aadhaar."""
    last, middle, first = _BLOCKS
    return _DIHEDRAL[_DIHEDRAL[last[digits[8:]]][middle[digits[4:8]]]][first[digits[:4]]] == 0


_POWERS = [
    *accumulate(range(7), lambda power, _: tuple(_STEP[value] for value in power), initial=tuple(range(10)))
]


class _Block(dict[bytes, int]):
    """The products of four digits, of which the last one stands at this place from the right."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self._place = place

    def __missing__(self, digits: bytes) -> int:
        product = 0
        for place, digit in enumerate(reversed(values(digits)), self._place):
            product = _DIHEDRAL[product][_POWERS[place % len(_POWERS)][digit]]
        self[digits] = product
        return product


_BLOCKS = _Block(0), _Block(4), _Block(8)


_TENS = bytes(10 * _DIHEDRAL[place // 10][place % 10] for place in range(100)) + bytes(156)
_FROM_THE_RIGHT = tuple(bytes(48) + bytes(powers) + bytes(198) for powers in _POWERS)
_PRODUCT_IS_0 = bytes((1,)) + bytes(255)


def verhoeff_of_each(numbers: bytes, size: int, places: Sequence[int]) -> bytes:
    """1 where it is right and 0 where not, for each of many numbers of so many characters, of which those at `places`
    are digits. A lane, a byte of a long integer, holds ten times the product of a number so far: the next digit is
    added to it, and a table tells the next product, of all numbers in one step."""
    count = len(numbers) // size
    products = bytes(count)
    for power, place in enumerate(reversed(places)):
        digits = numbers[place::size].translate(_FROM_THE_RIGHT[power % len(_FROM_THE_RIGHT)])
        both = int.from_bytes(products, "little") + int.from_bytes(digits, "little")
        products = both.to_bytes(count, "little").translate(_TENS)
    return products.translate(_PRODUCT_IS_0)


def values(text: bytes) -> bytes:
    """Digits as they are, letters from A = 10."""
    return text.translate(_VALUES)


_VALUES = bytes.maketrans(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", bytes([*range(36), *range(10, 36)])
)


def weighted(digits: bytes, *weights: int) -> int:
    """The sum of products; weights begin anew when they end."""
    return sum(value * weight for value, weight in zip(values(digits), cycle(weights), strict=False))


def ean13(digits: bytes) -> bool:
    """GS1's, for thirteen digits."""
    return weighted(digits, 1, 3) % 10 == 0


def mod_11_10(digits: bytes) -> bool:
    """ISO/IEC 7064, MOD 11,10."""
    product = 10
    for digit in values(digits[:-1]):
        product = (product + digit) % 10 or 10
        product = product * 2 % 11
    return (11 - product) % 10 == digits[-1] - ord("0")


def mod_11_2(text: bytes) -> bool:
    """ISO/IEC 7064, MOD 11-2; the last may be X for ten."""
    check = 0
    for digit in values(text[:-1]):
        check = (check + digit) * 2 % 11
    return (12 - check) % 11 == (10 if text[-1:] in b"Xx" else text[-1] - ord("0"))


def month_and_day(month: bytes, day: bytes) -> bool:
    """Of a date of birth."""
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31
