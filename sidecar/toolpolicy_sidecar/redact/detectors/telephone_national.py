"""Telephone numbers as people write them within their country, told by their separators alone.

The plans of all countries together have almost every number that begins with a zero: they rule nothing out. What does
is how a number is written, how many digits it has, and that it stands alone: no date, no range, no part of something
longer.
"""

import re

FORM = (
    r"\(?\b0[1-9][0-9]{0,3}(?:\)[ -]?| ?/ ?|[ -])[0-9]{2,8}(?:[ -][0-9]{2,8}){0,4}\b"
    r"|\b0[1-9](?:\.[0-9]{2}){4}\b"
    r"|\([1-9][0-9]{1,2}\) ?[0-9]{3,5}-[0-9]{2,4}(?:-[0-9]{2})?\b"
    r"|\b1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}\b"
)
"""RE2. Behind the digit that is dialled before an area's code; behind that code in brackets; of a mobile in China."""

_AREA = re.compile(rb"\(?([0-9]+)")
_SHORTEST, _LONGEST = 9, 12
_LONGEST_OF_TWO = 10
"""With so short an area's code."""
_VARIETY = 4
"""Fewer different digits are a pattern."""
_OTHER = re.compile(
    rb"[0-9]{5}-[0-9]{4}"  # a ZIP code
    rb"|[0-9]{2}-[0-9]{7}"  # an employer's number
    rb"|01[ .-]02[ .-]03[ .-]04[ .-]05|0[0-9]{3}(?: 0[0-9]{3}){2}"  # bytes, characters of Unicode
    rb"|0[1-9][ /-]+[01][0-9][ -](?:19|20)[0-9]{2}\b.*"
    rb"|0[1-9][0-9]{0,3}[ /-]+(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]\b.*"  # dates
    rb"|\(.*(?:19|20)[0-9]{2}-(?:19|20)[0-9]{2}"  # years
)
_GOES_ON_BEFORE = re.compile(rb"(?:[0-9][-./_:+ ]?|[A-Za-z_][-._]?)\Z")
_GOES_ON_BEHIND = re.compile(rb"[0-9A-Za-z_]|[-.:/](?:[0-9a-z]|[0-9A-F]{4})|[ ][0-9]")


def stands_alone(text: bytes, start: int, end: int) -> bool:
    """Is this, which FORM matches, a number and nothing else?"""
    number = text[start:end]
    digits = number.translate(None, b" ()./-")
    area = _AREA.match(number)
    of_two = number[:1] == b"0" and area is not None and len(area[1]) == 2
    return (
        _SHORTEST <= len(digits) <= (_LONGEST_OF_TWO if of_two else _LONGEST)
        and len(set(digits)) >= _VARIETY
        and _OTHER.fullmatch(number) is None
        and _GOES_ON_BEFORE.search(text[max(0, start - 2) : start]) is None
        and _GOES_ON_BEHIND.match(text, end) is None
    )
