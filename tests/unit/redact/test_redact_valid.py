"""A large document that is checked in parts is valid exactly when it is valid as a whole."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_sidecar.redact import valid

SCALARS = st.sampled_from(
    [
        "1",
        "-2.5",
        "null",
        '"x"',
        '""',
        '"a,b\\\\"',
        '"\\""',
        '"},{"',
        '"\u0430"',
        '"\\ud83d\\ude00"',
        '"\\u0041:"',
        '"a long text, with: {"',
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda values: (
        st.lists(values, max_size=8).map(lambda every: f"[{', '.join(every)}]")
        | st.lists(st.tuples(SCALARS.filter(lambda each: each[0] == '"'), values), max_size=8).map(
            lambda every: f"{{{', '.join(f'{name} : {value}' for name, value in every)}}}"
        )
    ),
    max_leaves=40,
)
DOCUMENTS = st.lists(VALUES, min_size=3, max_size=30).map(
    lambda every: f'{{"a": [{",".join(every)}], "n": 1}}'
)
WRONG = st.sampled_from(
    ["", '"', "\\", ",", "{", "}", "]", ":", "0", "\n", "\\ud83d", "\x00", '"k":1', "},{", '","']
)


def small(patched: pytest.MonkeyPatch, part_bytes: int, near_bytes: int) -> None:
    patched.setattr(valid, "PART_BYTES", part_bytes)
    patched.setattr(valid, "NEAR_BYTES", near_bytes)
    patched.setattr(valid, "_STEP_BYTES", 7)


def is_valid(data: bytes) -> bool:
    try:
        data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


SIZES = st.integers(9, 60)


@given(text=DOCUMENTS, size=SIZES)
@settings(max_examples=300, deadline=None)
def test_a_valid_document_is_valid_in_parts(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        small(patched, size, 1000)
        assert valid.is_valid_in_parts(text.encode())


@given(text=DOCUMENTS, wrong=WRONG, place=st.floats(0, 1), cut=st.integers(0, 3), size=SIZES)
@settings(max_examples=1500, deadline=None)
def test_only_valid_documents_are_valid(text: str, wrong: str, place: float, cut: int, size: int) -> None:
    data = text.encode()
    at = int(place * len(data))
    data = data[:at] + wrong.encode() + data[at + cut :]
    with pytest.MonkeyPatch.context() as patched:
        small(patched, size, 40)
        assert not valid.is_valid_in_parts(data) or is_valid(data)


@pytest.mark.parametrize(
    "document",
    [
        [{"id": number, "text": "a, b", "more": {"x": [1]}} for number in range(60)],
        {"items": ["a, {b}"] * 90, "n": 1},
        {"result": [{"values": [*range(200)]}]},
        {"content": [{"type": "text", "text": json.dumps(["a\n", "\u0430"]) * 40}]},
        "a text alone, " * 90,
        {"a": 1, "name " * 90: 2, "b": {"x": [None, True]}},
        {str(number): [number, {"x": "y" * number}, None] for number in range(60)},
        ["x" * 300, {"y": "z" * 300}] * 4,
    ],
)
def test_the_usual_ones_are_checked_in_parts(monkeypatch: pytest.MonkeyPatch, document: object) -> None:
    small(monkeypatch, 100, 50)
    assert valid.is_valid_in_parts(json.dumps(document).encode())


@pytest.mark.parametrize(
    "text",
    [
        "[1,]",
        "[,1]",
        '{"a":1,}',
        '{,"a":1}',
        '{"a":,"b":1}',
        '["a":1]',
        '{"a"}',
        "[1}",
        "[1,2]]",
        '{"a":1,2}',
        "[1 2]",
    ],
)
def test_what_is_none_however_it_is_cut(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for size in range(1, 60, 3):
        small(monkeypatch, size, 100)
        for around in ("{}", "[{}]", '{{"k": {}}}', '[7, {}, "x"]', '{{"k": {}, "l": {{}}}}'):
            before, behind = around.format("|").split("|")
            data = f"{before}{' ' * size}{text}{' ' * size}{behind}".encode()
            assert not is_valid(data)
            assert not valid.is_valid_in_parts(data)


@pytest.mark.parametrize("first", range(1, 6))
@pytest.mark.parametrize("last", range(1, 6))
def test_what_is_no_list_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    small(monkeypatch, 24, 100)
    for between in range(8, 16):
        members = ['"k": "v"'] * first + ['"x"'] * between + ['"k": "v"'] * last
        in_object = f"{{{', '.join(members)}}}"
        in_string = (
            "[" + "1, " * 8 + '"' + "x" * first + "}" + ',{"a":1}' * between + ",{" + "x" * 9 * last + '"]'
        )
        for text in (in_object, in_string):
            assert not is_valid(text.encode())
            assert not valid.is_valid_in_parts(text.encode())
