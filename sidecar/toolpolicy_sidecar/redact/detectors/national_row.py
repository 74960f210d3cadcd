"""What a row of the tables of national numbers is.

A form that stands for itself is looked for everywhere; bare digits only beside a name that says
what they are. Where a number has a check digit it must be right.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import chain

from toolpolicy_sidecar.redact.detectors.crowd import in_crowds, split
from toolpolicy_sidecar.redact.detectors.detector import (
    FARTHER,
    Confidence,
    Detector,
    Every,
    Validator,
    beside,
)
from toolpolicy_sidecar.redact.expression import Bounds, Candidates, Expression

Check = Callable[[bytes], bool]
"""Gets the number in capitals, without spaces, dots, slashes and dashes."""

_SEPARATORS = b" \t\n\r\f\v./()-"
_LONGER_BEFORE = re.compile(rb"[0-9A-Za-z][.\-]?$")
_LONGER_AFTER = re.compile(rb"[.\-]?[0-9A-Za-z]")


_A_DIGIT = re.compile(r"(?:\(\?:)?(?:\[[0-9-]+\]|[0-9])(?!\?|\*|\{0)")
"""How an expression begins that begins with a digit."""
_FROM_THE_FIRST_DIGIT = re.compile(rb"[^0-9]*+([0-9].*)", re.DOTALL)


def _value(form: str, names: str, plain: str) -> re.Pattern[bytes] | None:
    """What finds the number, where names have no digits and numbers begin with one."""
    alternatives = "|".join(filter(None, (form, plain))).split("|")
    if not names or re.search("[0-9]", names) or not all(map(_A_DIGIT.match, alternatives)):
        return None
    return _FROM_THE_FIRST_DIGIT


_ROW_BEFORE = re.compile(rb"(?:[0-9] {1,3}|(?:[A-Za-z]/|(?i:version|build|\bv)[ :=\"]{0,2}))$")
_ROW_BEHIND = re.compile(rb" {1,3}[0-9]")
Alone = Callable[[bytes, int, int], bool]
"""Gets the text, and where the number is."""


def always(_text: bytes, _start: int, _end: int) -> bool:
    return True


def in_no_row(text: bytes, start: int, end: int) -> bool:
    """No number beside it, and no version: spaces and dots part all kinds of numbers, dashes do not."""
    if text.find(b"-", start, end) >= 0 or text[start:end].isdigit():
        return True
    return not (_ROW_BEFORE.search(text, max(0, start - 10), start) or _ROW_BEHIND.match(text, end))


_FOURS = re.compile(rb"(?:[ -][0-9]{4}(?![0-9]))*")
_TWELVE_FOURS = 60
"""Bytes, with what is between them."""


def of_three_fours(text: bytes, start: int, end: int) -> bool:
    """Three groups of four digits, and as many for others beside it: no part of a number of four or five groups."""
    backwards = text[max(0, start - _TWELVE_FOURS - 1) : start][
        ::-1
    ]  # a search for where they begin takes ten times
    before = _FOURS.match(backwards)
    behind = _FOURS.match(text, end, end + _TWELVE_FOURS)
    sizes = (len(beside[0]) // 5 for beside in (before, behind) if beside)
    return all(groups % 3 == 0 for groups in sizes)


def checked(check: Check, alone: Alone = always) -> Validator:
    def validator(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        if not check(text[start:end].translate(None, _SEPARATORS).upper()) or not alone(text, start, end):
            return
        if not (_LONGER_BEFORE.search(text, max(0, start - 2), start) or _LONGER_AFTER.match(text, end)):
            yield start, end

    return validator


CheckOfEach = Callable[[bytes], bytes]
"""Gets many numbers as they are written, all of the same length and none between them; gives 1 or 0 for each."""


def _every(named: Callable[[], Expression], form: str, validator: Validator, check: CheckOfEach) -> Every:
    """Of a form that is always so long, and shares no character with a number beside its name."""
    unnamed, each = cache(partial(Expression, form)), re.compile(f"({form})".encode())

    def in_window(text: bytes, start: int, end: int) -> tuple[list[Bounds], int]:
        written, bounds, _, goes_on = split(text, each, start, end)
        right = check(b"".join(written))
        found: list[Bounds] = []
        at = -1
        while (at := right.find(1, at + 1)) >= 0:
            found += validator(text, *bounds[at])
        return found, goes_on

    def every(text: bytes, _: Expression) -> Iterator[Bounds]:
        beside_names = (span for match in named().each(text) for span in validator(text, *match))
        return chain(beside_names, in_crowds(text, unnamed(), validator, in_window))

    return every


def row(  # noqa: PLR0917 -- the columns of a table
    name: str,
    description: str,
    source: str,
    form: str,
    names: str,
    plain: str,
    check: Check,
    examples: tuple[str, ...],
    others: tuple[str, ...],
    *,
    trigger: str = "",
    confidence: Confidence = "Medium",
    check_of_each: CheckOfEach | None = None,
    alone: Alone = always,
) -> Detector:
    """`form` stands for itself; `plain` only after one of `names`. `trigger`: of the form. `check_of_each`: for a form
    that is always of the same size, and shares no character with what stands beside a name. `alone`: is it more than
    one number of many?"""
    between = rf"[\"'\\]{{0,2}}\s{{0,2}}[:=#>]?\s{{0,2}}[\"'\\]{{0,2}}|{FARTHER}"
    named = rf"(?i:{names})(?i:[a-z_ .#'-]{{0,40}}?)(?:{between})\b({plain})\b"
    group = "" if names else "?:"  # groups cost time: only where a name must be told from its value
    forms = [rf"\b({group}{form})"] if form else []
    value, validator = _value(form, names, plain), checked(check, alone)
    every = None
    if check_of_each is not None:
        beside_name = cache(partial(Candidates, named, value))
        every = _every(beside_name, rf"\b{form}", validator, check_of_each)
    return Detector(
        name=name,
        groups=("PII",),
        description=description,
        source=source,
        confidence=confidence,
        trigger="|".join([trigger] * bool(form) + [f"(?i:{names})"] * bool(names)),
        expression="|".join([*([named] if names else []), *forms]),
        examples=examples,
        others=others,
        validator=validator,
        keyed=bool(names),
        every=every,
        value=value,
        near=beside(rf"(\b(?:{form}))") if form and _A_DIGIT.match(form) else None,
    )
