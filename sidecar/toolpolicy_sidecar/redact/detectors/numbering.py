"""Which telephone numbers there are: libphonenumber's plans, asked a hundred times faster than its parser is, which a
list of numbers would keep busy for minutes. Numbers are ASCII digits here.

A number may be read with or without a national prefix or a country's code; it is enough when one reading is in the
plan.
"""

import re
from collections.abc import Iterable
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


def is_valid_abroad(number: bytes) -> bool:
    """The same, and has somebody been given such numbers?"""
    plan, rest = _split(number)
    return plan is not None and any(map(_valid(plan.code).covers, plan.readings(rest)))


def is_valid_in(countries: tuple[str, ...], number: bytes) -> bool:
    """As it is written in one of these countries (ISO 3166)."""
    abroad = _ABROAD.match(number)
    if abroad and is_valid_abroad(number[abroad.end() :]):
        return True
    either, transformed = _plans_of(countries)
    return either.covers(number) or any(
        any(map(_valid(plan.code).covers, plan.readings(number)[1:])) for plan in transformed
    )


@cache
def _plans_of(countries: tuple[str, ...]) -> tuple[Expression, list[Plan]]:
    """All that a search can tell, and the plans with a prefix that becomes something."""
    metadata = _library().PhoneMetadata
    codes = dict.fromkeys(metadata.metadata_for_region(country).country_code for country in countries)
    plans = [plan for code in codes if (plan := _plan(code)) is not None]
    transformed = [plan for plan in plans if plan.becomes]
    expressions = []
    for plan in plans:
        prefix = f"(?:{plan.prefix.pattern.decode()})?" if plan.prefix and not plan.becomes else ""
        expressions.append(f"(?:{plan.code.decode()})?{prefix}(?:{plan.valid})")
    return Expression("|".join(expressions)), transformed


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
    return Expression(plan.valid if plan else r"[^\x00-\x{10ffff}]")


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
