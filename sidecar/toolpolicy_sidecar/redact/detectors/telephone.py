"""Is it a telephone number, the way it is written?"""

import re
from collections.abc import Iterator

from toolpolicy_sidecar.redact.detectors import numbering
from toolpolicy_sidecar.redact.detectors.checksums import ean13

COUNTRIES = (
    "US", "GB", "DE", "FR", "IT", "ES", "NL", "PL", "SE", "CH", "AT", "IN", "JP", "KR", "CN", "AU", "BR", "MX", "ZA",
)  # fmt: skip
"""Whose own forms are tried, where a name says that it is a number."""
_NORTH_AMERICAN = re.compile(
    rb"(?:\+?1[ .-]?|001[ .-]?)?\(?[2-9][0-9]{2}(?:\) ?|[. -])[2-9][0-9]{2}[. -][0-9]{4}(?: ?(?:x|ext\.?) ?[0-9]+)?"
)
_ANY_NORTH_AMERICAN = re.compile(rb"1?[2-9][0-9]{2}[2-9][0-9]{6}")
_SEPARATORS = b"+ ().-/"
_EXTENSION = re.compile(rb"[xe]")
_DATE = re.compile(rb"(?:19|20)[0-9]{2}([-./])[0-9]{2}\1[0-9]{2}")


def written_for_the_world(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """With a country's code; or in the form of North America, which its separators give away."""
    if text[start - 1 : start].isalnum() or text[end : end + 1].isdigit():
        return
    number = text[start:end]
    if number.startswith(b"0") and not number.startswith(b"00"):
        yield from of_some_country(text, start, end)
    elif number.isdigit() and len(number) == 13 and ean13(number):  # of an article
        return
    elif (len(set(number)) > 4 and _international(number)) or _NORTH_AMERICAN.fullmatch(number):
        yield start, end


def of_some_country(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """In the form of one of COUNTRIES; of North America's any with the right length."""
    if text[end : end + 1].isalnum():
        return
    number = text[start:end]
    if _DATE.match(number):
        return
    digits = number.translate(None, _SEPARATORS)
    if _ANY_NORTH_AMERICAN.fullmatch(digits) or numbering.is_valid_in(COUNTRIES, digits):
        yield start, end


def _international(number: bytes) -> bool:
    extension = _EXTENSION.search(number) if number.find(b"x") >= 0 else None
    digits = (number[: extension.start()] if extension else number).translate(None, _SEPARATORS)
    if digits.startswith(b"00"):  # as many other numbers do
        return numbering.is_valid_abroad(digits[2:])
    return numbering.is_possible_abroad(digits)
