"""Which telephone numbers there are: libphonenumber's plans, asked a hundred times faster than its parser is, which a
list of numbers would keep busy for minutes. Numbers are ASCII digits here.

A number may be read with or without a national prefix or a country's code; it is enough when one reading is in the
plan.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from types import ModuleType
from typing import NamedTuple

from toolpolicy_sidecar.redact.expression import Expression

_KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
)
_ABROAD = re.compile(rb"(?:0011|011|00)(?=[1-9])")
"""What is dialled before a country's code: in Australia, in North America, in most of the world."""
_CODE_DIGITS = 3
"""Of a country's code, at most."""
_NEVER = r"[^\x00-\x{10ffff}]"
_END = b"\n"
"""Of a number, where many stand in one text."""


class Plan(NamedTuple):
    """Of a country's code. `lengths` are those of numbers without code and prefix, `valid` is RE2 for all of them.
    `prefix` is dialled before them within the country, and where it `becomes` something, that stands for it."""

    code: bytes
    lengths: frozenset[int]
    valid: str
    prefix: re.Pattern[bytes] | None
    becomes: bytes | None

    def readings(self, number: bytes) -> tuple[bytes, ...]:
        """The number, and what is left of it without a prefix."""
        match = self.prefix.match(number) if self.prefix else None
        if match is None:
            return (number,)
        if self.becomes and match[match.re.groups] is not None:
            return number, match.expand(self.becomes) + number[match.end() :]
        return number, number[match.end() :]


def is_possible_abroad(number: bytes) -> bool:
    """With its country's code first: is there such a code, and is it as long as numbers there are?"""
    plan, rest = _split(number)
    if plan is None:
        return False
    return len(rest) in plan.lengths or not plan.lengths.isdisjoint(map(len, plan.readings(rest)))


def is_almost_possible_abroad(number: bytes) -> bool:
    """The same, give or take a digit."""
    plan, rest = _split(number)
    return plan is not None and not plan.lengths.isdisjoint((len(rest) - 1, len(rest) + 1))


def is_valid_abroad(number: bytes) -> bool:
    """The same, and has somebody been given such numbers?"""
    plan, rest = _split(number)
    if plan is None:
        return False
    lengths, covers = plan.lengths, _valid(plan.code).covers
    return any(len(reading) in lengths and covers(reading) for reading in plan.readings(rest))


def is_code(digits: bytes) -> bool:
    """Of a country."""
    return _code_of(digits)[1] == len(digits)


@cache
def is_long_enough(first: bytes, size: int) -> bool:
    """True: whatever follows, so many digits that begin with these, at least three, are a possible number abroad."""
    plan, code_size = _code_of(first[:_CODE_DIGITS])
    return plan is not None and size - code_size in plan.lengths


def are_valid_in(countries: tuple[str, ...], numbers: Sequence[bytes], also: str = "") -> list[bool]:
    """Whether each of them is as it is written in one of these countries (ISO 3166), or matches `also`, which is RE2.
    One search passes over all up to the next that no plan knows as it stands."""
    known = _known_in(countries, also)
    text = _END.join(numbers) + _END
    valid: list[bool] = []
    others: list[int] = []
    at = 0
    while at < len(text) and len(valid) < len(numbers):
        begun, at = at, known.reach(text, at)
        valid += [True] * text.count(_END, begun, at)
        if at < len(text):
            number = numbers[len(valid)]
            others.append(len(valid))
            valid.append(_is_valid_from_abroad(number))
            at += len(number) + len(_END)
    for plan in _plans_of(countries):
        if plan.becomes:
            read = [(other, reading) for other in others for reading in plan.readings(numbers[other])[1:]]
            for index in _valid_among(plan, [reading for _, reading in read]):
                valid[read[index][0]] = True
    return valid


def _valid_among(plan: Plan, numbers: list[bytes]) -> Iterator[int]:
    """Which of many of this plan, of which few are. One search passes over all up to the next one."""
    text, at, index = _END.join(numbers) + _END, 0, 0
    next_valid = _next_valid(plan.code)
    while (end := next_valid.reach(text, at)) > at:
        index += text.count(_END, at, end)
        yield index - 1
        at = end


def _is_valid_from_abroad(number: bytes) -> bool:
    """With what is dialled to get abroad."""
    abroad = _ABROAD.match(number)
    return abroad is not None and is_valid_abroad(number[abroad.end() :])


@cache
def _known_in(countries: tuple[str, ...], also: str) -> Expression:
    """Matches numbers one after the other, each with its end."""
    expressions = [also] * bool(also)
    for plan in _plans_of(countries):
        prefix = f"(?:{plan.prefix.pattern.decode()})?" if plan.prefix and not plan.becomes else ""
        expressions.append(f"(?:{plan.code.decode()})?{prefix}(?:{plan.valid})")
    return Expression(f"(?:(?:{'|'.join(expressions)}){_END.decode()})*")


@cache
def _plans_of(countries: tuple[str, ...]) -> tuple[Plan, ...]:
    metadata = _library().PhoneMetadata
    codes = dict.fromkeys(metadata.metadata_for_region(country).country_code for country in countries)
    return tuple(plan for code in codes if (plan := _plan(code)) is not None)


def _split(number: bytes) -> tuple[Plan | None, bytes]:
    plan, size = _code_of(number[:_CODE_DIGITS])
    return plan, number[size:]


@cache
def _code_of(digits: bytes) -> tuple[Plan | None, int]:
    """The plan of the country whose code they begin with, and how long it is. No code is the beginning of another."""
    for size in range(1, len(digits) + 1):
        plan = _plan(int(digits[:size]))
        if plan is not None:
            return plan, size
    return None, 0


@cache
def _valid(code: bytes) -> Expression:
    plan = _plan(int(code))
    return Expression(plan.valid if plan else _NEVER)


@cache
def _next_valid(code: bytes) -> Expression:
    """Matches numbers one after the other, each with its end, up to the first that is valid."""
    end = _END.decode()
    plan = _plan(int(code))
    return Expression(f"(?:[0-9]*{end})*?(?:{plan.valid if plan else _NEVER}){end}")


@cache
def _plan(code: int) -> Plan | None:
    library = _library()
    regions = library.COUNTRY_CODE_TO_REGION_CODE.get(code)
    if regions is None:
        return None
    all_of = [library.PhoneMetadata.metadata_for_region_or_calling_code(code, region) for region in regions]
    main = all_of[0]
    prefix = main.national_prefix_for_parsing
    becomes = main.national_prefix_transform_rule
    return Plan(
        b"%d" % code,
        frozenset(main.general_desc.possible_length)
        | frozenset(main.general_desc.possible_length_local_only),
        "|".join(dict.fromkeys(_patterns(all_of))),
        re.compile(prefix.encode()) if prefix else None,
        becomes.encode() if becomes else None,
    )


def _patterns(all_of: Iterable[object]) -> Iterable[str]:
    for metadata in all_of:
        for kind in _KINDS:
            pattern = getattr(getattr(metadata, kind), "national_number_pattern", None)
            if pattern:
                yield pattern


@cache
def _library() -> ModuleType:
    import phonenumbers  # noqa: PLC0415 -- its metadata takes memory and time: only where numbers are met

    return phonenumbers
