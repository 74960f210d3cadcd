"""Is it a telephone number, the way it is written?"""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, compress, islice
from operator import and_

from toolpolicy_sidecar.redact.detectors import numbering, telephone_national
from toolpolicy_sidecar.redact.detectors.checksums import ean13
from toolpolicy_sidecar.redact.expression import Bounds, Expression

COUNTRIES = (
    "US", "GB", "DE", "FR", "IT", "ES", "NL", "PL", "SE", "CH", "AT", "IN", "JP", "KR", "CN", "AU", "BR", "MX", "ZA",
)  # fmt: skip
"""Whose own forms are tried, where a name says that it is a number."""
_NORTH_AMERICAN = re.compile(
    rb"(?:\+?1[ .-]?|001[ .-]?)?\(?[2-9][0-9]{2}(?:\) ?|[. -])[2-9][0-9]{2}[. -][0-9]{4}(?: ?(?:x|ext\.?) ?[0-9]+)?"
)
_ANY_NORTH_AMERICAN = "1?[2-9][0-9]{2}[2-9][0-9]{6}"
_SEPARATORS = b"+ ().-/"
_AT_ONCE = 256
_MOST_AT_HOME = 12
_LEAST_ABROAD = 11
"""Digits: where a number stands as a country's own, and as one with the country's code and no plus."""
_VARIETY = 4
"""With no more different characters it is no number of somebody."""
_EXTENSION = re.compile(rb"[xe]")
_OF_E164 = range(9, 16)
_GROUPED = re.compile(rb"\+([2-9][0-9]{1,2})(?:[ .-]\(?[0-9]{1,5}\)?){2,5}(?:$| ?[xe])")
"""Behind a plus in groups: a telephone number, even if nobody was given it, as happens to makers of test data. In one
group it may have a digit too many or one too few."""
_DATE_OR_FRACTION = re.compile(rb"(?:19|20)[0-9]{2}([-./])[0-9]{2}\1[0-9]{2}|[0-9]\.[0-9]++(?![-. /()])")
_BEGINNING_OF_UUID = re.compile(rb"[0-9a-fA-F]{8}-\Z")
_BEFORE_DECIMALS = re.compile(rb"[0-9][.-]\Z")
_OF_TICKET = re.compile(rb"00[0-9]-[0-9]{10}")
"""To fly with, behind the number of the company."""
_DATES_OR_FRACTIONS = re.compile(rb"(?m)^" + _DATE_OR_FRACTION.pattern)


def written_for_the_world(text: bytes, start: int, end: int) -> Iterator[Bounds]:
    """With a country's code; or in the form of North America, which its separators give away."""
    if _is_part(text, start, end):
        return
    number = text[start:end]
    if number.startswith(b"00") and (
        text[end : end + 1].isalpha()
        or _BEFORE_DECIMALS.search(text, max(0, start - 2), start)
        or _OF_TICKET.fullmatch(number)
    ):
        return  # of something else, or of a fraction
    if number.startswith(b"+ ") and _DATE_OR_FRACTION.match(number, 2):
        return  # of a line that was added
    if not number.startswith((b"+", b"00")):
        if _NORTH_AMERICAN.fullmatch(number) or telephone_national.stands_alone(text, start, end):
            yield start, end
    elif number.isdigit() and len(number) == 13 and ean13(number):  # of an article
        return
    elif (len(set(number)) > _VARIETY and _international(number)) or _NORTH_AMERICAN.fullmatch(number):
        yield start, end


def every_for_the_world(text: bytes, candidate: Expression) -> Iterator[Bounds]:
    """All of them."""
    return chain.from_iterable(map(partial(_of_world, text), _parts(candidate.each(text))))


def _of_world(text: bytes, found: list[Bounds]) -> list[Bounds]:
    """Mostly it is enough to know the country's code and how many digits there are."""
    numbers = [text[start:end] for start, end in found]
    valid: list[Bounds] = []
    for bounds, number, digits in zip(found, numbers, _digits(numbers), strict=True):
        if number[:1] == b"0" != number[1:2]:
            if telephone_national.is_one(number, digits) and telephone_national.is_alone(text, *bounds):
                valid.append(bounds)
        elif (
            number[:1] == b"+"
            and number[1:2] != b" "
            and len({*number}) > _VARIETY
            and digits.isdigit()
            and digits[:2] != b"00"
            and numbering.is_long_enough(digits[:3], len(digits))
        ):
            if not _is_part(text, *bounds):
                valid.append(bounds)
        else:
            valid += written_for_the_world(text, *bounds)
    return valid


def of_some_country(text: bytes, start: int, end: int) -> Iterator[Bounds]:
    """In the form of one of COUNTRIES; of North America's any with the right length."""
    return _of_some_country(text, [(start, end)])


def every_of_some_country(text: bytes, candidate: Expression) -> Iterator[Bounds]:
    """All of them."""
    return chain.from_iterable(map(partial(_of_some_country, text), _parts(candidate.each(text))))


def _of_some_country(text: bytes, found: list[Bounds]) -> Iterator[Bounds]:
    numbers = [text[start:end] for start, end in found]
    digits = _digits(numbers)
    valid: Iterable[bool] = numbering.are_valid_in(COUNTRIES, digits, _ANY_NORTH_AMERICAN)
    if max(map(len, digits), default=0) >= _LEAST_ABROAD:
        valid = [
            (good and len(number) <= _MOST_AT_HOME)
            or (len(number) >= _LEAST_ABROAD and numbering.is_valid_abroad(number))
            for good, number in zip(valid, digits, strict=True)
        ]
    if _DATES_OR_FRACTIONS.search(b"\n".join(numbers)):
        valid = map(and_, valid, [_DATE_OR_FRACTION.match(number) is None for number in numbers])
    return (bounds for bounds in compress(found, valid) if not text[bounds[1] : bounds[1] + 1].isalnum())


def _is_part(text: bytes, start: int, end: int) -> bool:
    """Of a word, or of a longer number."""
    return text[start - 1 : start].isalnum() or text[end : end + 1].isdigit()


def _parts(found: Iterator[Bounds]) -> Iterator[list[Bounds]]:
    """So many that no step on them holds up other threads."""
    while part := [*islice(found, _AT_ONCE)]:
        yield part


def _digits(numbers: list[bytes]) -> list[bytes]:
    """Of each what is no separator."""
    return b"\n".join(numbers).translate(None, _SEPARATORS).split(b"\n")[: len(numbers)]


def _international(number: bytes) -> bool:
    extension = _EXTENSION.search(number) if number.find(b"x") >= 0 else None
    digits = (number[: extension.start()] if extension else number).translate(None, _SEPARATORS)
    if digits.startswith(b"00"):  # as many other numbers do
        return numbering.is_valid_abroad(digits[2:])
    if numbering.is_possible_abroad(digits):
        return True
    grouped = _GROUPED.match(number)
    if grouped is not None:
        return len(digits) in _OF_E164 and numbering.is_code(grouped[1])
    return len(digits) in _OF_E164 and digits[:1] > b"1" and numbering.is_almost_possible_abroad(digits)
