import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.redact.views import narrow, unescape, views

EVERY = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial")))

FRAGMENTS = st.sampled_from(
    [
        "\\",
        '"',
        "\\\\",
        '\\"',
        "\\n",
        "\\u0041",
        "\\ud83d",
        "\\ude00",
        "\\u00",
        "\\x",
        "a",
        "é",
        "\n",
        "\0",
        "u0041",
    ]
)
TEXTS = st.lists(FRAGMENTS, max_size=12).map(lambda parts: "".join(parts).encode())


@given(TEXTS)
@example(b'\\u0041"\n')
@example(b"\\ud800")
@example(b"\0\\\0")
@example(b"\\u00aa")
@example(b'\\\\"')  # an escaped backslash, then a quote
def test_the_fast_way_and_the_mapped_way_read_the_same(text: bytes) -> None:
    read = unescape(text)
    first = next(views(text), None)  # of escapes, where there are any
    assert read == text or (first is not None and first.text == read)


@given(TEXTS, st.data())
def test_what_a_span_comes_from_decodes_to_at_least_the_span(text: bytes, data: st.DataObject) -> None:
    for view in views(text):
        characters = view.text.decode()
        first = data.draw(st.integers(0, len(characters) - 1))
        last = data.draw(st.integers(first + 1, len(characters)))
        start, end = (len(characters[:index].encode()) for index in (first, last))
        ((begin, minus_stop, _),) = view.in_source([(start, -end, 0)])
        stop = -minus_stop
        assert 0 <= begin < stop <= len(text)
        part, source = without_zeros(view.text[start:end]), text[begin:stop]
        assert part in without_zeros(unescape(source)) or part in without_zeros(source)


def without_zeros(text: bytes) -> bytes:
    """Which of them are read depends on what stands beside them."""
    return text.replace(b"\0", b"")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("size", [1, 200, 20_000])
def test_wide_characters_are_read(encoding: str, size: int) -> None:
    text = f"{size * 'so '}jane@example.com and api_key=q7W2e9RtY4uZ3pLk{size * ' so'}"
    wide = text.encode(encoding)
    assert narrow(wide) == text.encode()
    for said in (wide.decode(), json.dumps(wide.decode()), json.dumps([wide.decode()] * 100)):
        left = EVERY.text(said).value
        plain = left.replace("\0", "").replace(r"\u0000", "")
        assert "jane" not in plain
        assert "q7W2" not in plain
        assert plain.count("so") == 2 * size * said.count("q")


def test_zeros_between_words_are_no_wide_characters() -> None:
    listed = b"PATH=/bin\0API_KEY=q7W2e9RtY4uZ3pLk\0HOME=/root\0"
    assert narrow(listed) is listed
    assert EVERY.text(listed.decode()).value == "PATH=/bin\0API_KEY=[redacted:KeyedSecret]\0HOME=/root\0"


def test_a_text_without_escapes_has_no_other_reading() -> None:
    assert list(views(b"C:\\Program Files\\x")) == []


def test_pairs_of_surrogates_are_one_character_and_halves_are_replaced() -> None:
    assert unescape(b"\\ud83d\\ude00 \\ud83d") == "😀 \ufffd".encode()
