"""Telephone numbers as people write them within their country, told by their separators alone.

The plans of all countries together have almost every number that begins with a zero: they rule nothing out. What does
is how a number is written, how many digits it has, and that it stands alone: no date, no range, no part of something
longer.
"""

import re

FROM_A_ZERO = (
    r"\(?\b0[1-9][0-9]{0,3}(?:\)[ -]?| ?/ ?|[ -])[0-9]{2,8}(?:[ -][0-9]{2,8}){0,4}\b"
    r"|\b0[1-9](?:\.[0-9]{2}){4}\b"
)
FORM = (
    rf"{FROM_A_ZERO}"
    r"|\([1-9][0-9]{1,2}\) ?[0-9]{3,5}-[0-9]{2,4}(?:-[0-9]{2})?\b"
    r"|\b1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}\b"
)
"""RE2. Behind the digit that is dialled before an area's code; behind that code in brackets; of a mobile in China."""
TRIGGER = (
    r"-[0-9]{4}-[0-9]{4}"
    r"|\b0[1-9][0-9]{0,3}[)/ -]{1,3}[0-9]{3,4}[ -]?[0-9]{2}|\b0[1-9](?:[ .-][0-9]{2}){4}"
    r"|\b0[1-9][0-9]{1,3}[)/ -]{1,3}[0-9]{2}[ -][0-9]{2}[ -][0-9]{2}"
    r"|\) ?[0-9]{3,5}-[0-9]{2}|\b1[3-9][0-9] [0-9]{4} [0-9]{4}"
)
"""RE2. What FORM allows besides, such as `078-05-1120`, is mostly something else."""

_SHORTEST, _LONGEST = 9, 12
_LONGEST_OF_TWO = 10
"""With so short an area's code."""
_VARIETY = 4
"""Fewer different digits are a pattern."""
_OTHER = (
    rb"[0-9]{5}-[0-9]{4}"  # a ZIP code
    rb"|[0-9]{2}-[0-9]{7}"  # an employer's number
    rb"|01[ .-]02[ .-]03[ .-]04[ .-]05|0[0-9]{3}(?: 0[0-9]{3}){2}"  # bytes, characters of Unicode
    rb"|0[1-9][ /-]+[01][0-9][ -](?:19|20)[0-9]{2}\b.*"
    rb"|0[1-9][0-9]{0,3}[ /-]+(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]\b.*"  # dates
    rb"|[0-9]+\) ?(?:19|20)[0-9]{2}-(?:19|20)[0-9]{2}"  # years
    rb"|[0-9-]*-[0-9]{3,}-[0-9]{2}|0[0-9]{2,}-[0-9]{4,}-[0-9]{3}"  # a drug, a part, a parcel of land
)
_BEGINS = (
    rb"(?<![0-9A-Za-z_])(?<![0-9][-./_:+ ])(?<![A-Za-z_][-._])"
    rb"(?<!\b[0-9A-F]{2} )(?<![0-9][A-Z]{3} )"  # bytes, the square of a grid
)
_ALONE = re.compile(rb"%b\(*+(?!(?:%b)\Z)(?=.*?(?:%b))" % (_BEGINS, _OTHER, TRIGGER.encode()))
_GOES_ON = re.compile(rb"[0-9A-Za-z_]|[-.:/](?:[0-9a-z]|[0-9A-F]{4})|[ ](?:[0-9]|[A-F][0-9A-F]\b)")


def stands_alone(text: bytes, start: int, end: int) -> bool:
    """Is this, which FORM matches, a number and nothing else?"""
    number = text[start:end].lstrip(b"(")
    return is_one(number, number.translate(None, b" ()./-")) and is_alone(text, start, end)


def is_one(number: bytes, digits: bytes) -> bool:
    """By how many digits it has."""
    longest = _LONGEST if number[:1] != b"0" or number[2:3].isdigit() else _LONGEST_OF_TWO
    return _SHORTEST <= len(digits) <= longest and len(set(digits)) >= _VARIETY


def is_alone(text: bytes, start: int, end: int) -> bool:
    """By what stands beside it, and by what else is written so."""
    return _ALONE.match(text, start, end) is not None and _GOES_ON.match(text, end) is None
