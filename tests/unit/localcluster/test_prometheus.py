"""The chart's rules, made faster for a test."""

import re

import pytest
import yaml

from localcluster.prometheus import RULES, NotDivisible, faster

TEXT = RULES.read_text(encoding="utf-8")
WINDOWS = re.compile(r"(?<=\[)\w+(?=\])|(?<=for: )\w+|(?<=5 / )\d+")


def test_every_window_is_shorter_and_nothing_else_has_changed() -> None:
    quick = faster(TEXT, 30)
    assert WINDOWS.sub("", quick) == WINDOWS.sub("", TEXT)
    assert set(re.findall(r"\[\w+\]", quick)) == {"[10s]", "[30s]"}
    assert set(re.findall(r">= 5 / \d+", quick)) == {">= 5 / 10", ">= 5 / 30"}
    rules = [rule for group in yaml.safe_load(quick)["groups"] for rule in group["rules"]]
    assert {rule["for"] for rule in rules if "for" in rule} == {"2s", "4s", "10s", "20s", "30s"}


def test_windows_that_would_not_last_whole_seconds_are_refused() -> None:
    with pytest.raises(NotDivisible, match=r"300 s .* 7 times"):
        faster(TEXT, 7)
