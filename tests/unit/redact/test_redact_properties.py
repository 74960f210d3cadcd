"""What holds for every document: output parses and differs only where something was hit, nothing that was
redacted is left in any reading, a second pass changes nothing, and the fast path finds what the slow finds."""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import document
from toolpolicy_sidecar.redact.redactor import Redactor, Unscannable
from toolpolicy_sidecar.redact.views import unescape

DETECTORS = ("Email", "CreditCard")
TICKET = snapshot.Pattern("ticket", "TCK-[0-9]{6}", "[ticket]")
# Matches nothing, and keeps every search over a whole document from ruling anything out.
NEVER = snapshot.Pattern("never", r"^a\Ab", "")
ALL = Redactor.compile(snapshot.Redaction(detectors=DETECTORS, patterns=(TICKET,)))

SECRETS = ["jane.doe@example.com", "4111 1111 1111 1111", "378282246310005", "TCK-123456", "jörg@müller.de"]
ENCODED = [
    "jane.doe%40example.com",
    "amFuZS5kb2VAZXhhbXBsZS5jb20=",
    "6a616e652e646f65406578616d706c652e636f6d",
    "jane.doe&#64;example.com",
    "\uff34\uff23\uff2b-123456",
    "x=4111+1111+1111+1111",
]
HARMLESS = st.text(st.sampled_from('ab @."\\/{}[]:,\n\t\0é😀 1u0%2&;+=\u200b'), max_size=8)
STRINGS = st.lists(st.one_of(HARMLESS, st.sampled_from(SECRETS + ENCODED)), max_size=3).map(" ".join)
NUMBERS = st.sampled_from(
    ["0", "-0", "1.50", "1e5", "4111111111111111", "4.111111111111111E+15", "12345678901234"]
)


class Number(str):
    """A number as it is spelled."""

    __slots__ = ()


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS.map(Number), STRINGS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(st.tuples(STRINGS, inner), max_size=3).map(tuple),  # an object: keys may repeat
        st.tuples(st.just("nested"), inner).map(lambda pair: list(pair)),  # noqa: PLW0108 -- typed
    ),
    max_leaves=8,
)


def spell(value: Any, data: st.DataObject, depth: int = 0) -> str:
    """JSON with random whitespace and escapes. `["nested", x]` becomes a string with x's JSON in it."""
    space = data.draw(st.sampled_from(["", "", " ", "\n\t"]))
    match value:
        case Number():
            return space + value
        case str():
            return space + spell_string(value, data)
        case None | bool():
            return space + json.dumps(value)
        case ["nested", inner] if depth < 2:
            return space + spell_string(spell(inner, data, depth + 1), data)
        case list():
            return space + "[" + ",".join(spell(item, data, depth) for item in value) + space + "]"
        case _:
            members = [f"{spell_string(key, data)}{space}:{spell(item, data, depth)}" for key, item in value]
            return space + "{" + ",".join(members) + space + "}"


def spell_string(text: str, data: st.DataObject) -> str:
    style = data.draw(st.sampled_from(["plain", "ascii", "all", "some"]))
    if style == "plain":
        return json.dumps(text, ensure_ascii=False)
    if style == "ascii":
        return json.dumps(text)
    every = 1 if style == "all" else data.draw(st.integers(2, 5))
    return '"' + "".join(
        "".join(f"\\u{unit:04x}" for unit in units(character)) if index % every == 0 else json.dumps(character)[1:-1]
        for index, character in enumerate(text)
    ) + '"'  # fmt: skip


def units(character: str) -> Iterator[int]:
    raw = character.encode("utf-16-be")
    return (int.from_bytes(raw[at : at + 2]) for at in range(0, len(raw), 2))


DOCUMENTS = st.builds(lambda value, data: spell(value, data).encode(), VALUES, st.data())

FRAGMENTS = st.sampled_from(
    [
        "a", "@", r"\.", "[a-z]+", r"[^a]", r"\b", r"\B", "^", "$", r"\A", r"\z", "(?i)JANE", "1+", r"[0-9]{4}",
        '"', r"\\", "{", r"\s", "[^ ]{3}", ".", "(?s:.)+", "x*", r"\pL", "nested", "\\n", "(?m)^a", "TCK", ",",
    ]
)  # fmt: skip
PATTERNS = st.lists(
    st.tuples(
        st.lists(FRAGMENTS, min_size=1, max_size=4).map("".join), st.sampled_from(["", "*", "[p]", "aa", '"'])
    ),
    min_size=1,
    max_size=3,
)


def readings(text: bytes) -> Iterator[bytes]:
    """The text as it is, and with its escapes decoded again and again."""
    for _ in range(8):
        yield text
        text = unescape(text)


NO_CONSTANTS: Any = None
"""The standard library takes NaN and Infinity; calling None for them is a TypeError."""


def run(redactor: Redactor, data: bytes) -> tuple[bytes, dict[str, int]] | str:
    try:
        found = redactor.json(data)
    except Unscannable as error:
        return str(error)
    return found.value, dict(found.hits)


@given(DOCUMENTS)
@settings(max_examples=120, deadline=None)
def test_output_parses_and_no_secret_is_left_in_any_reading(data: bytes) -> None:
    found = ALL.json(data)
    json.loads(found.value)
    document.check(found.value)
    for reading in readings(found.value):
        for secret in [*SECRETS, *ENCODED, "4111111111111111"]:
            assert secret.encode() not in reading
    assert found.hits or found.value is data


@given(DOCUMENTS)
@settings(max_examples=120, deadline=None)
def test_output_differs_only_where_something_was_hit(data: bytes) -> None:
    before = document.TOKEN.findall(data)
    found = ALL.json(data)
    after = document.TOKEN.findall(found.value)
    outside = document.TOKEN.sub(b"", data)
    assert document.TOKEN.sub(b"", found.value) == outside
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        alone = ALL.json(old)
        assert new == alone.value
        assert (new == old) == (not alone.hits)


@given(DOCUMENTS)
@settings(max_examples=100, deadline=None)
def test_a_second_pass_changes_nothing(data: bytes) -> None:
    once = ALL.json(data).value
    again = ALL.json(once)
    assert not again.hits
    assert again.value == once


@given(DOCUMENTS, PATTERNS)
@settings(max_examples=150, deadline=None)
def test_the_fast_path_finds_what_the_slow_path_finds(data: bytes, patterns: list[tuple[str, str]]) -> None:
    named = tuple(
        snapshot.Pattern(f"p{index}", regex, replace) for index, (regex, replace) in enumerate(patterns)
    )
    fast = Redactor.compile(snapshot.Redaction(detectors=("CreditCard",), patterns=named))
    slow = Redactor.compile(snapshot.Redaction(detectors=("CreditCard",), patterns=(*named, NEVER)))
    assert slow._scanner.anchored
    outcome = run(fast, data)
    assert outcome == run(slow, data)
    if isinstance(outcome, tuple):
        assert run(fast, outcome[0]) == (outcome[0], {})


@given(st.binary(max_size=60) | st.text(st.sampled_from('[]{}",:\\ud8e1.-N'), max_size=30).map(str.encode))
@settings(max_examples=300)
def test_anything_is_scanned_or_unscannable(data: bytes) -> None:
    outcome = run(ALL, data)
    try:
        text = data.decode()
        json.loads(text, parse_constant=NO_CONSTANTS)
    except (ValueError, TypeError):
        assert isinstance(outcome, str)


@given(STRINGS)
def test_texts_come_to_rest_without_their_secrets(text: str) -> None:
    found = ALL.text(text)
    assert all(secret not in found.value for secret in SECRETS)
    assert ALL.text(found.value) == (found.value, {})
