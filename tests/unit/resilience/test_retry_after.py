"""Retry-After, as servers write it and as they should not."""

import calendar
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_sidecar.resilience.retry_after import retry_after_s

NOW = float(calendar.timegm((1994, 11, 6, 8, 49, 7)))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7\t", 7.0),
        ("0", 0.0),
        ("007", 7.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 30.0),
        ("Sun Nov  6 08:49:37 1994", 30.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),  # it is over
        ("9" * 400, 2.0**31),
        ("9" * 5000, 2.0**31),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 2.0**31),
    ],
)
def test_seconds_and_the_three_forms_of_a_date(value: str, seconds: float) -> None:
    assert retry_after_s(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-5",
        "+5",
        "1.5",
        "5 s",
        "1e3",
        "1_0",
        "\N{ARABIC-INDIC DIGIT THREE}",
        "5, 6",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 +0200",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Thu, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 99:49:37 GMT",
        "06 Nov 1994",
        "soon 5",
    ],
)
def test_what_is_malformed_is_ignored(value: str) -> None:
    assert retry_after_s(value, NOW) is None


@given(st.text())
def test_anything_is_a_time_or_nothing(value: str) -> None:
    found = retry_after_s(value, NOW)
    assert found is None or 0.0 <= found <= 2.0**31


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**6))
def test_every_date_that_is_written_is_read(now: int, ahead_s: int) -> None:
    assert retry_after_s(formatdate(now + ahead_s, usegmt=True), float(now)) == ahead_s
