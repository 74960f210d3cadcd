"""Every detector against its own examples, in the places where such texts stand."""

import importlib
import json
from functools import cache

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.detectors import DETECTORS, crowd
from toolpolicy_sidecar.redact.detectors.card_lanes import every_card
from toolpolicy_sidecar.redact.detectors.cards import CARD_ISSUERS, payment_card
from toolpolicy_sidecar.redact.detectors.checksums import ean13, luhn, verhoeff, verhoeff_of_each
from toolpolicy_sidecar.redact.detectors.detector import Detector
from toolpolicy_sidecar.redact.expression import Candidates, Expression
from toolpolicy_sidecar.redact.redactor import InvalidPattern, Redactor
from toolpolicy_sidecar.redact.rule import is_anchored

BASIC = Redactor.compile(snapshot.Redaction(detectors=("Email", "CreditCard")))
ALL = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial"), min_confidence="Low"))
AROUND = ["{}", "see {} now", "({})", "'{}'", "<{}>", "a,{},b", "x={};", "{}.", "\n{}\n"]


@cache
def only(name: str) -> Redactor:
    return Redactor.compile(snapshot.Redaction(detectors=(name,), min_confidence="Low"))


def is_hit_whole(detector: Detector) -> bool:
    """Where an expression has groups, only the value beside the name is hit."""
    return "(" not in detector.expression.replace("(?", "").replace(r"\(", "")


SHORT_CUTS = [
    (
        Candidates(each.expression, each.value, each.near),
        Expression(each.expression, captures="(" in each.expression.replace("(?", ""))
        if each.near
        else Candidates(each.expression),
    )
    for each in DETECTORS.values()
    if each.value or each.near
]
every_detector = pytest.mark.parametrize("detector", DETECTORS.values(), ids=lambda detector: detector.name)


_CARD = "4111 1111 1111 1111 "
_PIECES = [
    *("ab1A._%+'-@@ n", "xn--", "cc", ".cc", ".png", "x@y.zz", "a.b@c.dd", "\xff"),
    *(
        _CARD,
        _CARD * 9,
        "4444 " * 120,
        "5500-0000-0000-0004",
        "3782 822463 10005",
        "0.4111111111111111",
        "4222222222222 ",
    ),
    *("2341 2341 2346 ", "2341 2341 2346 " * 20, "2341-2341-2347", "2341 " * 60, "aadhaar: 234123412346"),
    *(
        "+49 151 12345678 ",
        "+1 (415) 555-2671x12",
        "0049 151 1234567 ",
        "+00",
        "415-555-2671",
        "090-1234-5678 ",
    ),
    *(
        "tel: 0151 1234567 ",
        "phone 2026-11-21 ",
        "call 4155552671 ",
        "contact no. 030 901820",
        "fax",
        "05511961234567",
        "35.00526375200009",
        "0024742711d",
        "phone 3.9881452",
        "1234abcd-0937-4495-8211-d",
        "+ 2018-04-26",
    ),
    *(
        "git@a.de:b",
        "git@a.de ",
        "ssh://git@a.de/b",
        "x://u:p@a.de",
        "x@odata.type",
        "x@1.2.a",
        "x://u",
        ":a@b.de ",
    ),
    *("3333-4444-555555555555", " 4444-555555555555"),
]


@given(
    text=st.lists(
        st.sampled_from([*"+- 14f", *_PIECES]) | st.integers(0, 10**16).map(str),
        max_size=14,
    ).map(lambda parts: "".join(parts).encode("latin-1")),
    detector=st.sampled_from([detector for detector in DETECTORS.values() if detector.every]),
)
@settings(max_examples=200, deadline=None)
def test_all_at_once_are_those_one_by_one(text: bytes, detector: Detector) -> None:
    expression = Expression(detector.expression, captures="(" in detector.expression.replace("(?", ""))
    validator = detector.validator
    found = {
        span
        for match in expression.each(text)
        for span in (validator(text, *match) if validator else (match,))
    }
    assert detector.every is not None
    assert {*detector.every(text, expression)} == found


def test_cards_at_a_windows_end_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "WINDOW_BYTES", 50)
    text = (_CARD * 40 + "order 12 " + "3782 822463 10005 " * 40).encode()
    expression = Expression(DETECTORS["CreditCard"].expression)
    one_by_one = {span for match in expression.each(text) for span in payment_card(text, *match)}
    assert {*every_card(text, expression)} == one_by_one


@given(
    parts=st.lists(
        st.sampled_from(
            ["4111 1111 1111 1111", "41 11 11 11 11 11 11 11", "411 111 111 111 111 1", "3782 822463 10005"]
        )
        | st.from_regex(r"[0-9]{1,5}", fullmatch=True)
        | st.sampled_from(["-", "  ", ".", "x", "12:"]),
        max_size=40,
    ),
    window_bytes=st.integers(40, 90),
)
@settings(deadline=None)
def test_cards_among_other_groups_of_digits_are_those_one_by_one(parts: list[str], window_bytes: int) -> None:
    text = " ".join(parts).encode()
    expression = Expression(DETECTORS["CreditCard"].expression)
    one_by_one = {span for match in expression.each(text) for span in payment_card(text, *match)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crowd, "WINDOW_BYTES", window_bytes)
        assert {*every_card(text, expression)} == one_by_one


@pytest.mark.parametrize("window_bytes", [1, 14, 50, 64])
def test_numbers_at_a_windows_end_are_found(monkeypatch: pytest.MonkeyPatch, window_bytes: int) -> None:
    monkeypatch.setattr(crowd, "WINDOW_BYTES", window_bytes)
    detector = DETECTORS["IndianAadhaar"]
    assert detector.every is not None
    assert detector.validator is not None
    text = ("2341 " * 21 + "2341 2341 2346 " * 9 + "7-" + "2341-2341-2346 12 " * 9).encode()
    expression = Expression(detector.expression, captures=True)
    one_by_one = [span for match in expression.each(text) for span in detector.validator(text, *match)]
    assert [*detector.every(text, expression)] == one_by_one


@given(numbers=st.lists(st.from_regex(r"(?a:[0-9]{12})", fullmatch=True)))
def test_verhoeff_of_many_is_that_of_each(numbers: list[str]) -> None:
    right = verhoeff_of_each("".join(numbers).encode(), 12, range(12))
    assert [*right] == [verhoeff(number.encode()) for number in numbers]


@given(
    text=st.lists(
        st.sampled_from(
            [example for each in DETECTORS.values() for example in (*each.examples, *each.others)]
        )
        | st.sampled_from(
            [
                " ",
                ", ",
                "=",
                ": ",
                '"',
                "'",
                "is ",
                "(",
                "\xff",
                "é",
                "--token ",
                "api_key",
                "tel. ",
                "aadhaar",
            ]
        )
        | st.from_regex(r"(?a:[A-Za-z0-9._=-]{1,40})", fullmatch=True),
        max_size=8,
    ).map(lambda parts: "".join(parts).encode()),
)
@settings(max_examples=150, deadline=None)
def test_short_cuts_lead_to_the_same(text: bytes) -> None:
    for short, groups in SHORT_CUTS:
        assert [*short.each(text)] == [*groups.each(text)]


@every_detector
def test_examples_are_masked(detector: Detector) -> None:
    redactor, name = only(detector.name), detector.name
    for example in detector.examples:
        for around in AROUND:
            found = redactor.text(around.format(example))
            assert found.hits == {name: 1}
            assert f"[redacted:{name}]" in found.value
            if is_hit_whole(detector):
                assert found.value == around.format(f"[redacted:{name}]")
        assert ALL.text(example).hits


@every_detector
def test_examples_are_masked_in_json_however_they_are_written(detector: Detector) -> None:
    redactor, name = only(detector.name), detector.name
    for example in detector.examples:
        escaped = "".join(f"\\u{ord(character):04X}" for character in example)
        wrapped = json.dumps(json.dumps({"k": example}))
        for document in (json.dumps([example], ensure_ascii=False), f'["{escaped}"]', f"[{wrapped}]"):
            found = redactor.json(document.encode())
            assert found.hits == {name: 1}
            assert f"[redacted:{name}]" in found.value.decode()


@every_detector
def test_what_is_none_is_left_alone(detector: Detector) -> None:
    for other in detector.others:
        assert only(detector.name).text(other).hits == {}, other


def longest(expression: str) -> int:
    """How many characters it can match at most."""
    python = expression.replace(r"\pL\pN", "a-z").replace(r"\pL", "a").replace(r"\pN", "1")
    return int(importlib.import_module("re._parser").parse(python).getwidth()[1])


@every_detector
def test_a_detector_is_ruled_out_by_its_trigger(detector: Detector) -> None:
    """Short, bounded, without a word on where the text begins or ends: one search for all of them is cheap."""
    assert not is_anchored(detector.trigger)
    assert not re2.search(detector.trigger, "")
    assert longest(detector.trigger) <= 130
    assert detector.source
    assert detector.description.endswith(".")
    assert set(detector.groups) & {"Secrets", "PII", "Financial"}
    for example in detector.examples:
        assert re2.search(detector.trigger, example)


def card(prefix: int, length: int) -> str:
    """Not the number of an article as well."""
    for fill in "137":
        body = str(prefix).ljust(length - 1, fill)
        number = next(body + str(digit) for digit in range(10) if luhn((body + str(digit)).encode()))
        if length != 13 or not ean13(number.encode()):
            return number
    raise AssertionError


@pytest.mark.parametrize(
    ("prefix", "length"),
    [
        (prefix, length)
        for _, low, high, lengths in CARD_ISSUERS
        for prefix in {low, high}
        for length in sorted(lengths)
    ],
)
def test_cards_of_every_issuer_and_length(prefix: int, length: int) -> None:
    number = card(prefix, length)
    assert BASIC.text(f"card {number}").value == "card [redacted:CreditCard]"
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert BASIC.text(f"card {wrong}").hits == {}


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("12 4111111111111111", "12 [redacted:CreditCard]"),
        ("4111 1111 1111 1111 123", "[redacted:CreditCard] 123"),
        ("4111-1111-1111-1111-2026-11-21", "[redacted:CreditCard]-2026-11-21"),
        ("2026-11-21 4111111111111111", "2026-11-21 [redacted:CreditCard]"),
        ("4111111111111111 5500000000000004", "[redacted:CreditCard] [redacted:CreditCard]"),
        ("4111 1111 1111 1111 5500 0000 0000 0004", "[redacted:CreditCard] [redacted:CreditCard]"),
        ("a1 4111111111111111", "a1 [redacted:CreditCard]"),
        ("4111111111111111 9z", "[redacted:CreditCard] 9z"),
        ("card_4111111111111111", "card_[redacted:CreditCard]"),
        ("-4111111111111111", "-[redacted:CreditCard]"),
        ("41 11 11 11 11 11 11 11", "[redacted:CreditCard]"),
        ("41 11 11 11 11 11 11 11 20", "41 11 11 11 11 11 11 11 20"),
        ("4111 1111 1111 1111 20 0", "[redacted:CreditCard] 20 0"),
        ("27 0 8376447 527164", "27 0 8376447 527164"),
        ("arn:aws:rds:eu-west-1:574035436470:db", "arn:aws:rds:eu-west-1:574035436470:db"),
    ],
)
def test_a_card_is_found_anywhere_in_a_run_of_digits(text: str, redacted: str) -> None:
    assert BASIC.text(text).value == redacted


def test_of_two_cards_that_overlap_no_tail_is_left() -> None:
    both = "5503 4111 1111 1100 0009"  # valid as its first and as its last sixteen digits
    assert luhn(both.replace(" ", "")[:16].encode())
    assert luhn(both.replace(" ", "")[4:].encode())
    assert BASIC.text(both).value == "[redacted:CreditCard]"


@pytest.mark.parametrize(
    ("digits", "valid"), [(b"0", True), (b"18", True), (b"79927398713", True), (b"79927398710", False)]
)
def test_luhn(digits: bytes, *, valid: bool) -> None:
    assert luhn(digits) is valid


def test_an_unknown_detector_is_refused_by_name() -> None:
    with pytest.raises(InvalidPattern, match="'Fingerprint': this sidecar has no such detector"):
        Redactor.compile(snapshot.Redaction(detectors=("Fingerprint",)))
