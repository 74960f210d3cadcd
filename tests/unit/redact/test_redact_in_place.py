"""The short way through a small document ends as the long way does, or is not taken."""

import json
import re
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import document, in_place
from toolpolicy_sidecar.redact.redactor import Redacted, Redactor, Unscannable
from toolpolicy_sidecar.redact.scanner import SMALL_BYTES

EMAIL = snapshot.Pattern("email", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+[.][A-Za-z][A-Za-z]+", "[email]")

PIECES = st.sampled_from(
    ["a", "aa", "b", "1", "12", "@", ".", " ", ":", ",", "{", "}", "[", "]", "[p]", "-", "a@b.cc", "QUJD" * 4, "%41"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=6).map("".join)
DOCUMENTS = st.recursive(
    TEXTS | st.integers(-20, 2000) | st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
FRAGMENTS = st.sampled_from(
    ["a", "@", r"\.", "[a-z]+", r"[^a]", r"\b", r"\B", "1+", r"[0-9]{3}", '"', ":", r"\s", "[^ ]{3}", ".", ".*", ".*?",
     "(?s:.)+", "x*", "|", "(?:a|ab)", r"\[", ",", "true"]
)  # fmt: skip
PATTERNS = st.lists(
    st.tuples(
        st.lists(FRAGMENTS, min_size=1, max_size=4).map("".join),
        st.sampled_from([None, "", "*", "[p]", "a", "[1]", '"', "\\", "QUJDQUJDQUJD", "{}"]),
    ),
    min_size=1,
    max_size=3,
)
SPACED = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])


def compiled(patterns: list[tuple[str, str | None]]) -> Redactor:
    found = (snapshot.Pattern(f"p{at}", regex, replace) for at, (regex, replace) in enumerate(patterns))
    return Redactor.compile(snapshot.Redaction(patterns=tuple(found)))


def short_way(redactor: Redactor, data: bytes) -> Redacted[bytes] | None:
    first = redactor._scanner.remarkable(data)
    found = None if first is None else in_place.redacted(redactor._scanner, data, first)
    return None if found is None else checked(found, data)


def checked(found: in_place.Changed, data: bytes) -> Redacted[bytes]:
    same_after = len(data) - found.end
    assert found.value.startswith(data[: found.start])
    assert found.value[len(found.value) - same_after :] == data[found.end :]
    return Redacted(found.value, found.hits)


def long_way(redactor: Redactor, data: bytes) -> tuple[bytes, Counter[str]]:
    hits = Counter[str]()
    return redactor._values.document(data, hits), hits


@given(document_=DOCUMENTS, patterns=PATTERNS, spaced=SPACED)
@settings(max_examples=250, deadline=None)
@example({"a": "1"}, [("[^ ]{3}", "*")], (",", ":"))
@example(["[12]"], [("1[0-9]", "x")], (",", ":"))
@example(["a", "QUJDQUJDaQUJDQUJD"], [("a", "")], (",", ":"))
@example(["aab1a"], [("aa", "[p]"), ("ab", "a")], (",", ":"))
@example(["a%41a"], [("a%|Aa", "*")], (",", ":"))
@example([12, "12"], [("1+", "*")], (",", ":"))
@example(["x11x"], [("11", ""), ("xx", "*")], (",", ":"))
@example(["a"], [("a", "[1]")], (",", ":"))
def test_it_ends_as_the_long_way_does(
    document_: object, patterns: list[tuple[str, str | None]], spaced: tuple[str, str]
) -> None:
    redactor = compiled(patterns)
    data = json.dumps(document_, separators=spaced).encode()
    found = short_way(redactor, data)
    if found is not None:
        assert found == long_way(redactor, data)
        document.check(found[0])


LETTERS = st.sampled_from(
    ["j", "q", "z", "jq", " ", ".", "@", "1", "[p]", "j@k.lz", "zz", "{", '"', "%6a", "qz" * 7]
)
OF_LETTERS = st.sampled_from(
    ["j", "q", "z?", "[jqz]", "[^a]", "[^ ]{2}", "(?:jq|j)", r"[a-z]+@[a-z.]+", ".*", "x*", r"\s", "[0-9.e]+"]
)  # fmt: skip


@given(
    texts=st.lists(st.lists(LETTERS, max_size=6).map("".join), min_size=1, max_size=4),
    pattern=st.tuples(
        st.lists(OF_LETTERS, min_size=1, max_size=3).map("".join),
        st.sampled_from([None, "", "*", "[p]", "j", "QUJDQUJDQUJD", "{}"]),
    ),
)
@settings(max_examples=250, deadline=None)
@example(["jjqq"], ("jq", ""))
@example(["qz" * 7 + "j"], ("j", ""))
@example(["jq j"], ("jq|j", "q"))
@example(["{j}"], ("j", '""'))
@example(["j"], ("j", "{}"))
def test_a_single_rule_ends_as_the_long_way_does(texts: list[str], pattern: tuple[str, str | None]) -> None:
    redactor = compiled([pattern])
    data = json.dumps(texts).encode()
    first = redactor._scanner.remarkable(data)
    if redactor._scanner.alone and first is not None:
        found = in_place._one_by_one(redactor._scanner, data, first)
        if found is not None:
            assert checked(found, data) == long_way(redactor, data)


@pytest.mark.parametrize("text", ["jane@example.com", "of jane@example.com and of joe@example.com"])
def test_one_search_finds_and_another_one_shows_that_nothing_is_left(text: str) -> None:
    scanner = Redactor.compile(snapshot.Redaction(patterns=(EMAIL,)))._scanner
    data = json.dumps({"a": text, "b": "c"}).encode()
    first = scanner.remarkable(data)
    assert first is not None
    found = in_place._one_by_one(scanner, data, first)
    assert found is not None
    assert json.loads(found.value) == {"a": re.sub(r"j\w+@example.com", "[email]", text), "b": "c"}


@pytest.mark.parametrize("regex", [r"\bj", r"j\B", "^j"])
def test_a_rule_that_asks_what_stands_beside_its_match_is_searched_for_by_itself(regex: str) -> None:
    assert not compiled([(regex, "*")])._scanner.alone
    assert compiled([("j", "*")])._scanner.alone
    assert not compiled([("j", "*"), ("q", "*")])._scanner.alone


CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "params": {"name": "search", "arguments": {"query": "of jane.doe@example.com"}},
}


@pytest.mark.parametrize(
    "value",
    [
        CALL,
        ["a@b.io and c@d.io", "e@f.io"],
        {"a@b.io": 1},
        "a@b.io",
        {"id": -1.5e3, "from": "Jane <jane@example.com>"},
    ],
)
def test_it_is_taken_for_addresses_in_texts(value: object) -> None:
    redactor = Redactor.compile(snapshot.Redaction(patterns=(EMAIL,)))
    data = json.dumps(value).encode()
    found = short_way(redactor, data)
    assert found is not None
    assert found == long_way(redactor, data)
    assert redactor.json(data) == found
    assert b"@" not in found[0]


def test_what_a_replacement_makes_too_deep_to_be_read_is_unscannable() -> None:
    data = json.dumps(["a" + "[" * document.MAX_DEPTH + "]" * (document.MAX_DEPTH + 1)]).encode()
    with pytest.raises(Unscannable):
        compiled([("a", "[")]).json(data)


@pytest.mark.parametrize(
    "text",
    [
        r"jane@example.com\nand more",
        "jane@example.com and jörg",
        "jane@example.com, 100 %",
        "jane@example.com QUJDREVGR0hJSktM",
        "[1, jane@example.com]",
        "jane@example.com" + " " * SMALL_BYTES,
        "jane@example.com " * (in_place.MOST_HITS + 1),
    ],
)
def test_it_is_not_taken_where_something_may_read_otherwise(text: str) -> None:
    redactor = Redactor.compile(snapshot.Redaction(patterns=(EMAIL,)))
    assert short_way(redactor, f'["{text}"]'.encode()) is None


@pytest.mark.parametrize(
    "redaction",
    [
        snapshot.Redaction(detectors=("Email",), patterns=(EMAIL,)),
        snapshot.Redaction(patterns=(EMAIL,), allow=(snapshot.Allowed(regex=".*@example.com"),)),
        snapshot.Redaction(patterns=(EMAIL,), action="Tokenize"),
        snapshot.Redaction(patterns=(EMAIL, snapshot.Pattern("first", "^a", "*"))),
        snapshot.Redaction(patterns=(snapshot.Pattern("email", EMAIL.regex, '"'),)),
        snapshot.Redaction(patterns=(snapshot.Pattern("email", EMAIL.regex, "é"),)),
    ],
)
def test_it_is_not_taken_by_rules_that_look_at_more_than_their_match(redaction: snapshot.Redaction) -> None:
    redactor = Redactor.compile(redaction)
    assert short_way(redactor, b'["a@b.io"]') is None
