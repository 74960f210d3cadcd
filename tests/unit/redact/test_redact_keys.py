"""A JSON value is read together with the name under which it stands."""

import json

import pytest

from tests.corpus import redaction
from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import Redactor

ALL = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial")))


@pytest.mark.parametrize(
    ("document", "redacted"),
    [
        (b'{"password" : "hunter22"}', b'{"password" : "[redacted:Password]"}'),
        (b'{"pass\\u0077ord":"hunter22"}', b'{"pass\\u0077ord":"[redacted:Password]"}'),
        (b'{"ssn":\n536904399, "n": 536904399}', b'{"ssn":\n"[redacted:SSN]", "n": 536904399}'),
        (b'{"passport_number":"C01X00T47"}', b'{"passport_number":"[redacted:Passport]"}'),
        (b'{"phoneNumber": 4155552671}', b'{"phoneNumber": "[redacted:NationalPhone]"}'),
        (
            b'[{"name": "DB_PASSWORD", "value": "hunter22"}]',
            b'[{"name": "DB_PASSWORD", "value": "[redacted:Password]"}]',
        ),
        (b'{"password":"","a":"hunter22"}', b'{"password":"","a":"hunter22"}'),
        (b'{"password":["hunter22"],"a":"hunter22"}', b'{"password":["hunter22"],"a":"hunter22"}'),
        (
            b'{"password":"string","passwordHint":"the cat"}',
            b'{"password":"string","passwordHint":"the cat"}',
        ),
        (b'{"password":"a\\"b-c-d"}', b'{"password":"[redacted:Password]"}'),
    ],
)
def test_a_value_under_a_telling_key(document: bytes, redacted: bytes) -> None:
    found = ALL.json(document)
    assert found.value == redacted
    assert ALL.json(found.value).value == found.value


def test_a_key_in_nested_json_tells_too() -> None:
    found = ALL.json(json.dumps({"v": json.dumps({"password": "hunter22"})}).encode())
    assert json.loads(json.loads(found.value)["v"]) == {"password": "[redacted:Password]"}


def test_a_second_pass_changes_nothing() -> None:
    for sample in [*redaction.secrets(7, 2), *redaction.people(7, 3)]:
        if sample.is_json:
            once = ALL.json(sample.text.encode()).value
            assert ALL.json(once).value == once
        else:
            text = ALL.text(sample.text).value
            assert ALL.text(text).value == text
