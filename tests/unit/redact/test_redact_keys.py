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


UNDER_NAMES = [
    ('{"password":["hunter22"],"a":"hunter22"}', '{"password":["[redacted:Password]"],"a":"hunter22"}'),
    (
        '{"passwords" : [null, "hunter22", true, "other-9k2f" ],"n":["hunter22"]}',
        '{"passwords" : [null, "[redacted:Password]", true, "[redacted:Password]" ],"n":["hunter22"]}',
    ),
    ('{"ssns":[536904399,\n"536904399"]}', '{"ssns":["[redacted:SSN]",\n"[redacted:SSN]"]}'),
    ('{"X-Auth-Token":["q7W2e9RtY4uZ3pLk"]}', '{"X-Auth-Token":["[redacted:KeyedSecret]"]}'),
    ('{"passwords":[["hunter22"]],"password":[]}', '{"passwords":[["hunter22"]],"password":[]}'),
    ('{"password":{"value":"hunter22"}}', '{"password":{"value":"[redacted:Password]"}}'),
    (
        '{"api_key":{"id":1,"of":"jane@example.com","value":"q7W2e9RtY4uZ3pLk"}}',
        '{"api_key":{"id":1,"of":"[redacted:Email]","value":"[redacted:KeyedSecret]"}}',
    ),
    (
        '{"api_key":{"password":"hunter22","value":"q7W2e9RtY4uZ3pLk"}}',
        '{"api_key":{"password":"[redacted:Password]","value":"[redacted:KeyedSecret]"}}',
    ),
    ('{"password":{"type":"string","value":{"a":"hunter22"}}}', None),
    ('{"password":{"label":"Kennwort","minLength":8}}', None),
    (
        '{"Name":"DB_PASSWORD","Type":"SecureString","Value":"hunter22"}',
        '{"Name":"DB_PASSWORD","Type":"SecureString","Value":"[redacted:Password]"}',
    ),
    ('{"text":"a new password","unit":"none","value":"hunter22"}', None),
    (
        '["run","--user","joe","--password","hunter22","-v"]',
        '["run","--user","joe","--password","[redacted:Password]","-v"]',
    ),
]


@pytest.mark.parametrize(("document", "redacted"), UNDER_NAMES)
@pytest.mark.parametrize("full", [False, True])
def test_a_value_in_a_list_or_an_object_under_a_telling_key(
    document: str, redacted: str | None, *, full: bool
) -> None:
    """Alone, and in a document that is full of hits."""
    before = '{"mail":"jane@example.com"},' * 400 if full else ""
    left = '{"mail":"[redacted:Email]"},' * 400 if full else ""
    found = ALL.json(f"[{before}{document}]".encode())
    assert found.value.decode() == f"[{left}{redacted or document}]"
    assert ALL.json(found.value).value == found.value


@pytest.mark.parametrize("count", [3, 5000])
def test_however_long_a_list_is_each_of_it_is_found(count: int) -> None:
    document = {"passwords": [f"hunter{at}" for at in range(count)], "others": ["hunter1"]}
    found = ALL.json(json.dumps(document).encode())
    assert json.loads(found.value) == {"passwords": ["[redacted:Password]"] * count, "others": ["hunter1"]}


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
