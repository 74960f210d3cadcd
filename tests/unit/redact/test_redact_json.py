"""JSON: what is scanned, what stays byte for byte, what cannot be scanned, and why."""

import json

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import document
from toolpolicy_sidecar.redact.redactor import Redactor, Unscannable
from toolpolicy_sidecar.redact.values import NESTED

ALL = Redactor.compile(
    snapshot.Redaction(
        detectors=("Email", "CreditCard"),
        patterns=(snapshot.Pattern("ticket", "TCK-[0-9]{6}", "[ticket]"),),
    )
)


@pytest.mark.parametrize(
    ("document", "redacted"),
    [
        (b'"jane@example.com"', b'"[redacted:Email]"'),
        (b'{"jane@example.com": 1}', b'{"[redacted:Email]": 1}'),
        (b'{"a" : 4111111111111111 }', b'{"a" : "[redacted:CreditCard]" }'),
        (b"[-4111111111111111]", b'["-[redacted:CreditCard]"]'),
        (b"[4.111111111111111e15]", b'["[redacted:CreditCard]"]'),
        (b"[4111111111111111.0]", b'["[redacted:CreditCard].0"]'),
        (b'["TCK-123456", "x\\n\\u0054CK-123456"]', b'["[ticket]", "x\\n[ticket]"]'),
        (
            b'{"a":"jane@example.com","a":"joe@example.com"}',
            b'{"a":"[redacted:Email]","a":"[redacted:Email]"}',
        ),
        ('["\\ud83d\\ude00 é jane@example.com"]'.encode(), '["😀 é [redacted:Email]"]'.encode()),
        (b'["4111\\u00201111 1111 1111"]', b'["[redacted:CreditCard]"]'),
        (b'["\\"jane@example.com\\""]', b'["\\"[redacted:Email]\\""]'),
    ],
)
def test_strings_keys_and_numbers_are_scanned(document: bytes, redacted: bytes) -> None:
    assert ALL.json(document).value == redacted


def test_everything_else_stays_byte_for_byte() -> None:
    document = (
        b' {\r\n\t"z" : 1.0E+2 ,"a":-0,"a":[ ], "big":123456789012345678901234567890,"e":1e400,'
        b'"esc":"\\u0041\\/\\n\\ud83d\\ude00","hit":"%b","t":true , "n":null} \n'
    )
    found = ALL.json(document % b"jane@example.com")
    assert found.value == document % b"[redacted:Email]"
    assert found.hits == {"Email": 1}
    clean = document % b"nobody"
    assert ALL.json(clean).value is clean


def wrapped(value: str, times: int) -> bytes:
    text = json.dumps({"v": value})
    for _ in range(times):
        text = json.dumps({"v": text})
    return text.encode()


def unwrapped(document: bytes, times: int) -> str:
    value = json.loads(document)["v"]
    for _ in range(times):
        value = json.loads(value)["v"]
    assert isinstance(value, str)
    return value


@pytest.mark.parametrize("times", range(NESTED + 1))
def test_json_in_strings_is_opened_and_stays_json(times: int) -> None:
    found = ALL.json(wrapped('"jané@example.com"\n', times).replace(b"@", b"\\" * 2**times + b"u0040"))
    assert unwrapped(found.value, times) == '"[redacted:Email]"\n'
    assert found.hits == {"Email": 1}


def test_numbers_in_nested_json_become_strings_there() -> None:
    found = ALL.json(json.dumps({"v": '{"card": 4111111111111111, "n": 1}'}).encode())
    assert json.loads(json.loads(found.value)["v"]) == {"card": "[redacted:CreditCard]", "n": 1}


def test_deeper_than_that_with_escapes_left_is_unscannable() -> None:
    with pytest.raises(Unscannable, match="more than 3 deep"):
        ALL.json(wrapped('"', NESTED + 1))


def test_what_only_looks_like_json_is_scanned_as_text_with_its_escapes() -> None:
    document = json.dumps(['{"a": "jane\\u0040example.com"', "[C:\\users\\TCK-123456]"]).encode()
    assert json.loads(ALL.json(document).value) == ['{"a": "[redacted:Email]"', "[C:\\users\\[ticket]]"]


def test_patterns_hit_numbers_of_any_length() -> None:
    mine = Redactor.compile(snapshot.Redaction(patterns=(snapshot.Pattern("ssn", r"\b[0-9]{9}\b", "***"),)))
    assert mine.json(b'{"ssn": 123456789, "n": 12345678}').value == b'{"ssn": "***", "n": 12345678}'


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "malformed JSON"),
        (b"{", "malformed JSON"),
        (b'{"a":1,}', "malformed JSON"),
        (b"[1] 2", "malformed JSON"),
        (b"[01]", "malformed JSON"),
        (b"[NaN]", "malformed JSON"),
        (b"[Infinity]", "malformed JSON"),
        (b"[-Infinity]", "malformed JSON"),
        (b'["\x01"]', "malformed JSON"),
        (b'["\\x41"]', "malformed JSON"),
        (b"\xef\xbb\xbf[]", "malformed JSON"),
        (b'{"jane@example.com', "malformed JSON"),
        (b'["\\ud800"]', "JSON with half a surrogate pair"),
        (b'["\\udc00\\ud800"]', "JSON with half a surrogate pair"),
        (b'{"\\ud800": 1}', "JSON with half a surrogate pair"),
        (b'["\xff"]', "JSON that is not UTF-8"),
        (b'["\xc0\x80"]', "JSON that is not UTF-8"),
        (b'["\xed\xa0\x80"]', "JSON that is not UTF-8"),
        ('["a"]'.encode("utf-16"), "UTF-16 or UTF-32"),
        ('["a"]'.encode("utf-16-be"), "UTF-16 or UTF-32"),
        ('["a"]'.encode("utf-16-le"), "UTF-16 or UTF-32"),
        ('["a"]'.encode("utf-32"), "UTF-16 or UTF-32"),
        ('["a"]'.encode("utf-32-be"), "UTF-16 or UTF-32"),
        (b"[" * 129 + b"]" * 129, "nested deeper than 128"),
        (b'{"]":' * 129 + b"1" + b"}" * 129, "nested deeper than 128"),
        (b'["\\"]\\\\",' * 129 + b"1" + b"]" * 129, "nested deeper than 128"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 128"),
        (b"[" * 1_000_000, "nested deeper than 128"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_what_cannot_be_scanned_says_why_without_the_content(document: bytes, reason: str) -> None:
    with pytest.raises(Unscannable, match=reason) as caught:
        ALL.json(document)
    assert "jane" not in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        b"[" * 128 + b"]" * 128,
        b"[" + b",".join([b"[[]]"] * 1000) + b"]",
        b'["' + b"[" * 500 + b'"]',
        b'["\\"[[[[", "' + b"{" * 200 + b'"]',
    ],
    ids=["deepest", "wide", "brackets in a string", "quotes and brackets in strings"],
)
def test_what_is_not_too_deep_is_scanned(document: bytes) -> None:
    assert ALL.json(document).value is document


def test_nested_json_that_is_too_deep_and_might_hide_something_is_unscannable() -> None:
    deep = "[" * 129 + '"\\\\u0040 jane@example.com"' + "]" * 129
    with pytest.raises(Unscannable, match="nested deeper than 128"):
        ALL.json(json.dumps([deep]).encode())
    with pytest.raises(Unscannable, match="nested deeper than 128"):
        ALL.json(json.dumps(["[" * 50_000 + '"jane@example.com"' + "]" * 50_000]).encode())


@pytest.mark.parametrize(
    "document",
    [
        b'"' + b"\\u0041" * 170_000 + b'"',
        b'["' + b'\\"' * 500_000 + b'"]',
        b'["' + b"\\\\" * 500_000 + b'"]',
        b'["' + b'\\\\\\"' * 250_000 + b'"]',
        b'["' + b"4444 " * 200_000 + b'"]',
        b'["' + b"4" * 1_000_000 + b'"]',
        b'["' + b"a@b." * 250_000 + b'"]',
        b'["' + b"a" * 1_000_000 + b'"]',
        b"[" + b",".join([b'""'] * 300_000) + b"]",
        b"[" + b"4" * 1_000_000 + b"]",
        b"[" + b"4" * 1_000_000 + b"e1]",
        b'["' + b"[" * 1_000_000 + b'"]',
    ],
    ids=lambda value: repr(value[:24]),
)
@pytest.mark.timeout(20)
def test_adversarial_documents_of_a_megabyte_end(document: bytes) -> None:
    ALL.json(document)


@pytest.mark.parametrize("junk", [b'["x"]', b'"\\"[[["', b'"[\\\\"', b'"' + b"[" * 300 + b'"'])
@pytest.mark.parametrize("before", [0, 16380, 16383, 16384, 40_000])
def test_depth_is_counted_outside_of_strings_in_large_documents(junk: bytes, before: int) -> None:
    for depth in (document.MAX_DEPTH, document.MAX_DEPTH + 1):
        filling = (junk + b",") * (before // (len(junk) + 1) + 1)
        data = b"[" + filling + b"[" * (depth - 1) + b"]" * (depth - 1) + b"]"
        assert document.too_deep(data) == (depth > document.MAX_DEPTH)
