"""The many short values of a document are searched together, and each ends as it would alone."""

import json
import re
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.detectors import DETECTORS
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.redact.values import _PART_BYTES

EVERY = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial")))
EXAMPLES = [
    text
    for detector in DETECTORS.values()
    for text in (*detector.examples, *detector.others)
    if len(text) < 1000
]
PARTS = [
    "jane@example.com", "jane%40example.com", "amFuZUBleGFtcGxlLmNvbQ==", "6a616e65406578616d706c652e636f6d",
    "4111 1111 1111 1111", "password", "password: ", "hunter2222", "ssn", "078-05-1120", "+49 151 12345678", "x=",
    "a+b", "\uff20", "\u0430", "\u200b", "\\u0040", "&#64;", "[redacted:Email]", '{"a": "b@example.com"}', "@", " ",
    "%00", "TCK-1", "\n", "\0", "\xff", "=", "AKIA", "secret", "aws_secret_access_key=", "token", "%ff", "%25",
]  # fmt: skip
TEXTS = st.lists(st.lists(st.sampled_from(PARTS), max_size=4).map("".join), max_size=6)
PATTERNS = st.sampled_from(["TCK", "^a", "b$", r"[^a]{2}", r"(?s:.)+x", r"\C\C1", r"\bx", "a*"])


def alone(redactor: Redactor, texts: list[str]) -> tuple[list[str], Counter[str]]:
    found = [redactor.text(text) for text in texts]
    return [each.value for each in found], sum((Counter(each.hits) for each in found), Counter())


def together(redactor: Redactor, texts: list[str]) -> tuple[list[str], Counter[str]]:
    found = redactor.json(json.dumps(texts, ensure_ascii=False).encode())
    return json.loads(found.value), Counter(found.hits)


def test_examples_of_every_detector() -> None:
    assert together(EVERY, EXAMPLES) == alone(EVERY, EXAMPLES)


def test_examples_that_are_encoded() -> None:
    encoded = ["".join(f"%{byte:02x}" for byte in text.encode()) for text in EXAMPLES]
    encoded = [text for text in encoded if len(text) < 1000]
    assert together(EVERY, encoded) == alone(EVERY, encoded)


FULL = [f"jane{number}@example.com" for number in range(200)]
"""So many, one after the other, that what follows is searched as a part of a full document."""
PLAIN = [text for text in EXAMPLES if text.isascii() and text.isprintable() and not {"\\", '"'} & {*text}]


def test_examples_in_a_document_that_is_full_of_hits() -> None:
    assert together(EVERY, FULL + PLAIN) == alone(EVERY, FULL + PLAIN)


def test_numbers_beside_their_name_and_without_it() -> None:
    texts = [f"item {number} of a list, 2341 2341 2346, \\n" for number in range(40)]
    texts[10:10] = ["uidai 234123412346"] * 3
    assert together(EVERY, texts) == alone(EVERY, texts)
    assert together(EVERY, texts[::-1]) == alone(EVERY, texts[::-1])


@pytest.mark.parametrize("number", [4111111111111111, 1.5, -3])
def test_what_else_stands_in_a_full_document(number: float) -> None:
    items = [
        *FULL,
        {"password": "first-9k2f", "name": "password", "value": "third-9k2f"},
        {"colour": "first-9k2f", "jane@example.com": "4111 1111 1111 1111", "n": number},
        "jane%40example.com",
        "[1, 4111111111111111]",
        "  [4111111111111111]",
        "amFuZUBleGFtcGxlLmNvbQ==",
        "x" * 1100 + " jane@example.com",
        {"ssn": 123456789, "passwords": ["", "078-05-1120"]},
        [number, None, True],
    ]
    found = json.loads(EVERY.json(json.dumps(items).encode()).value)
    assert found[: len(FULL)] == ["[redacted:Email]"] * len(FULL)
    assert found[len(FULL) :] == json.loads(EVERY.json(json.dumps(items[len(FULL) :]).encode()).value)


def test_a_full_document_in_parts_keeps_every_byte_between_its_hits() -> None:
    every = [f"{text} {number}" for number in range(40) for text in FULL]
    data = json.dumps(every, indent=1).encode()
    assert len(data) > 3 * _PART_BYTES
    found = EVERY.json(data)
    assert found.value == re.sub(rb"jane[0-9]+@example.com", b"[redacted:Email]", data)
    assert found.hits == {"Email": len(every)}


def test_many_suspects_in_a_document_with_an_escape_are_each_hit() -> None:
    every = [{"password": "first-9k2f", "colour": f"{text}\n"} for _ in range(10) for text in FULL]
    left = [{"password": "[redacted:Password]", "colour": "[redacted:Email]\n"}] * len(every)
    found = EVERY.json(json.dumps(every).encode())
    assert json.loads(found.value) == left
    assert found.hits == {"Email": len(every), "Password": len(every)}


def test_the_name_of_a_value_is_its_own() -> None:
    found = EVERY.json(b'[{"password": "first-9k2f"}, {"colour": "other-9k2f"}, {"password": "third-9k2f"}]')
    assert json.loads(found.value) == [
        {"password": "[redacted:Password]"},
        {"colour": "other-9k2f"},
        {"password": "[redacted:Password]"},
    ]


@given(texts=TEXTS, pattern=PATTERNS)
@settings(max_examples=100, deadline=None)
@example(["a=b", "jane+x@example.com"], "TCK")
@example(["password:", "hunter2222"], "TCK")
@example(["ab", "ab"], "b$")
def test_each_ends_as_it_would_alone(texts: list[str], pattern: str) -> None:
    detectors = (
        "Email",
        "CreditCard",
        "Password",
        "SocialSecurityNumber",
        "AWSSecretKey",
        "KeyedSecret",
        "Phone",
    )
    found = Redactor.compile(
        snapshot.Redaction(
            detectors=tuple(name for name in detectors if name in DETECTORS),
            patterns=(snapshot.Pattern("own", pattern, "*"),),
        )
    )
    assert together(found, texts) == alone(found, texts)
