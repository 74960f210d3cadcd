"""A large document that is checked in parts is valid exactly when it is valid as a whole."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_sidecar.redact import valid

PART_BYTES = 24
ELEMENTS = st.sampled_from(
    [
        '{"a":1}',
        '{"a":{"b":[1,2]},"c":"},{"}',
        '"x"',
        '"a,b\\\\"',
        '"\\""',
        "1",
        "-2.5",
        '"\u0430"',
        '"\\ud83d\\ude00"',
        "[]",
        "null",
    ]
)
LISTS = st.lists(ELEMENTS, min_size=6, max_size=30).map(", ".join)
ALIKE = st.tuples(ELEMENTS, st.integers(8, 40)).map(lambda pair: ",".join([pair[0]] * pair[1]))
STRINGS = st.lists(
    st.sampled_from(["ab", "\\n", "\\\\", '\\"', "\\u0041", "\\ud83d\\ude00", "\u0430", " ", "{", "},{"]),
    min_size=20,
).map("".join)
DOCUMENTS = (
    (LISTS | ALIKE).map("[{}]".format)
    | (LISTS | ALIKE).map('{{"result": {{"items": [{}], "n": 1}}}}'.format)
    | STRINGS.map('{{"content": [{{"text": "{}"}}]}}'.format)
)
WRONG = st.sampled_from(
    ["", '"', "\\", ",", "{", "}", "]", ":", "0", "\n", "\\ud83d", "\x00", '"k":1', "},{", '","']
)


def is_valid(data: bytes) -> bool:
    try:
        data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


@given(text=DOCUMENTS, wrong=WRONG, place=st.floats(0, 1), cut=st.integers(0, 3))
@settings(max_examples=1500, deadline=None)
def test_only_valid_documents_are_valid(text: str, wrong: str, place: float, cut: int) -> None:
    data = text.encode()
    at = int(place * len(data))
    data = data[:at] + wrong.encode() + data[at + cut :]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(valid, "PART_BYTES", PART_BYTES)
        assert not valid.is_valid_in_parts(data) or is_valid(data)


@pytest.mark.parametrize(
    "document",
    [
        [{"id": number, "text": "a, b", "more": {"x": [1]}} for number in range(60)],
        {"items": ["a, {b}"] * 90, "n": 1},
        {"result": [{"values": [*range(200)]}]},
        {"content": [{"type": "text", "text": json.dumps(["a\n", "\u0430"]) * 40}]},
    ],
)
def test_the_usual_ones_are_checked_in_parts(monkeypatch: pytest.MonkeyPatch, document: object) -> None:
    monkeypatch.setattr(valid, "PART_BYTES", 100)
    assert valid.is_valid_in_parts(json.dumps(document).encode())


@pytest.mark.parametrize("first", range(1, 6))
@pytest.mark.parametrize("last", range(1, 6))
def test_what_is_no_list_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    monkeypatch.setattr(valid, "PART_BYTES", PART_BYTES)
    for between in range(8, 16):
        members = ['"k": "v"'] * first + ['"x"'] * between + ['"k": "v"'] * last
        in_object = f"{{{', '.join(members)}}}"
        in_string = (
            "[" + "1, " * 8 + '"' + "x" * first + "}" + ',{"a":1}' * between + ",{" + "x" * 9 * last + '"]'
        )
        for text in (in_object, in_string):
            assert not is_valid(text.encode())
            assert not valid.is_valid_in_parts(text.encode())
