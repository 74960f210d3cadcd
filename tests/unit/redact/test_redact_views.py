from hypothesis import example, given
from hypothesis import strategies as st

from toolpolicy_sidecar.redact.views import unescape, views

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
@example(b"\\u00aa")
@example(b'\\\\"')  # an escaped backslash, then a quote
def test_the_fast_way_and_the_mapped_way_read_the_same(text: bytes) -> None:
    found = list(views(text))  # of escapes, then of the look-alikes they may stand for
    assert unescape(text) == (found[0].text if found else text)


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
        assert view.text[start:end] in unescape(text[begin:stop])


def test_a_text_without_escapes_has_no_other_reading() -> None:
    assert list(views(b"C:\\Program Files\\x")) == []


def test_pairs_of_surrogates_are_one_character_and_halves_are_replaced() -> None:
    assert unescape(b"\\ud83d\\ude00 \\ud83d") == "😀 \ufffd".encode()
