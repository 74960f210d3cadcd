"""Plans of telephone numbers: what the library itself says of numbers by chance."""

import random

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_sidecar.redact.detectors import numbering, telephone, telephone_national
from toolpolicy_sidecar.redact.expression import Expression

COUNTRIES = ("US", "GB", "DE", "IT", "JP", "KR", "AU", "BR")
AGREED = 0.98


def parsed(number: str, country: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(number, country)
    except phonenumbers.NumberParseException:
        return None


def is_possible(number: str) -> bool:
    found = parsed(f"+{number}", None)
    return found is not None and phonenumbers.is_possible_number(found)


def is_valid(number: str) -> bool:
    found = parsed(f"+{number}", None)
    return found is not None and phonenumbers.is_valid_number(found)


def is_valid_in(number: str) -> bool:
    every = [parsed(number, country) for country in COUNTRIES]
    return any(phonenumbers.is_valid_number(found) for found in every if found is not None)


def numbers(count: int, first: str) -> list[str]:
    chance = random.Random(7)  # noqa: S311 -- stable, not secret
    return [
        chance.choice(first) + "".join(chance.choices("0123456789", k=chance.randint(6, 13)))
        for _ in range(count)
    ]


def test_they_agree_with_the_library() -> None:
    abroad, at_home = numbers(600, "123456789"), numbers(150, "000123456789")
    pairs = [(is_possible(number), numbering.is_possible_abroad(number.encode())) for number in abroad]
    pairs += [(is_valid(number), numbering.is_valid_abroad(number.encode())) for number in abroad]
    pairs += [
        (is_valid_in(number), numbering.are_valid_in(COUNTRIES, [number.encode()])[0]) for number in at_home
    ]
    assert sum(one == other for one, other in pairs) >= AGREED * len(pairs)
    assert {True, False} == {one for one, _ in pairs}
    missed = [pair for pair in pairs if pair == (True, False)]
    assert len(missed) <= 0.002 * len(pairs)


@pytest.mark.parametrize("number", ["", "999", "2101234567", "0", "4"])
def test_no_country_has_it(number: str) -> None:
    assert not numbering.is_possible_abroad(number.encode())
    assert not numbering.is_valid_abroad(number.encode())


@pytest.mark.parametrize(
    "number",
    ["015112345678", "15112345678", "4915112345678", "004915112345678", "0114915112345678", "05511961234567"],
)
def test_it_is_read_as_it_is_dialled(number: str) -> None:
    assert numbering.are_valid_in(("DE", "BR"), [number.encode()]) == [True]


WRITTEN = Expression(telephone_national.FORM)
PARTS = st.sampled_from(
    ["0", "04", "151", "030", "(0", ")", " ", "-", "/", ".", "2026", "12", "3456", "789", "a", "1"]
)


@given(st.lists(PARTS, max_size=30).map("".join))
def test_many_national_numbers_are_found_as_each_by_itself(text: str) -> None:
    data = text.encode()
    one_by_one = [
        span for bounds in WRITTEN.each(data) for span in telephone.written_for_the_world(data, *bounds)
    ]
    assert sorted(telephone.every_for_the_world(data, WRITTEN)) == one_by_one


@given(st.lists(PARTS, max_size=30).map("".join))
def test_a_national_number_has_separators_and_stands_alone(text: str) -> None:
    data = text.encode()
    for start, end in WRITTEN.each(data):
        if telephone_national.stands_alone(data, start, end):
            assert not data[start:end].isdigit()
            assert 9 <= sum(map(str.isdigit, data[start:end].decode())) <= 12
            assert not data[start - 1 : start].isalnum()
            assert not data[end : end + 1].isalnum()
