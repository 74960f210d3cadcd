"""Every detector against its own examples, in the places where such texts stand."""

import json

import pytest
import re2

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.detectors import DETECTORS
from toolpolicy_sidecar.redact.redactor import InvalidPattern, Redactor
from toolpolicy_sidecar.redact.scanner import is_anchored
from toolpolicy_sidecar.redact.validators import CARD_ISSUERS, luhn

ALL = Redactor.compile(snapshot.Redaction(detectors=tuple(DETECTORS)))
EXAMPLES = [(name, example) for name, detector in DETECTORS.items() for example in detector.examples]
OTHERS = [(name, other) for name, detector in DETECTORS.items() for other in detector.others]


@pytest.mark.parametrize(
    "around", ["{}", "see {} now", "({})", "'{}'", "<{}>", "a,{},b", "x={};", "{}.", "\n{}\n"]
)
@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_an_example_is_masked_as_a_whole(name: str, example: str, around: str) -> None:
    redactor = Redactor.compile(snapshot.Redaction(detectors=(name,)))
    found = redactor.text(around.format(example))
    assert found.value == around.format(f"[redacted:{name}]")
    assert found.hits == {name: 1}


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_an_example_is_masked_in_json_however_it_is_written(name: str, example: str) -> None:
    escaped = "".join(f"\\u{ord(character):04X}" for character in example)
    wrapped = json.dumps(json.dumps({"k": example}))
    for document in (json.dumps([example], ensure_ascii=False), f'["{escaped}"]', f"[{wrapped}]"):
        found = ALL.json(document.encode())
        assert found.hits == {name: 1}
        assert f"[redacted:{name}]" in found.value.decode()


@pytest.mark.parametrize(("name", "other"), OTHERS)
def test_what_is_none_is_left_alone(name: str, other: str) -> None:
    assert ALL.text(other).hits == {}


@pytest.mark.parametrize("detector", DETECTORS.values(), ids=lambda detector: detector.name)
def test_detectors_can_be_ruled_out_by_one_search(detector: object) -> None:
    assert isinstance(detector, type(next(iter(DETECTORS.values()))))
    assert not is_anchored(detector.expression)
    assert not re2.compile(detector.expression).search("")


def card(prefix: int, length: int) -> str:
    body = str(prefix).ljust(length - 1, "1")
    return next(body + str(digit) for digit in range(10) if luhn((body + str(digit)).encode()))


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
    assert ALL.text(f"card {number}").value == "card [redacted:CreditCard]"
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert ALL.text(f"card {wrong}").hits == {}


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
    ],
)
def test_a_card_is_found_anywhere_in_a_run_of_digits(text: str, redacted: str) -> None:
    assert ALL.text(text).value == redacted


def test_of_two_cards_that_overlap_no_tail_is_left() -> None:
    both = "5503 4111 1111 1100 0009"  # valid as its first and as its last sixteen digits
    assert luhn(both.replace(" ", "")[:16].encode())
    assert luhn(both.replace(" ", "")[4:].encode())
    assert ALL.text(both).value == "[redacted:CreditCard]"


@pytest.mark.parametrize(
    ("digits", "valid"), [(b"0", True), (b"18", True), (b"79927398713", True), (b"79927398710", False)]
)
def test_luhn(digits: bytes, *, valid: bool) -> None:
    assert luhn(digits) is valid


def test_an_unknown_detector_is_refused_by_name() -> None:
    with pytest.raises(InvalidPattern, match="'IBAN': this sidecar has no such detector"):
        Redactor.compile(snapshot.Redaction(detectors=("IBAN",)))
