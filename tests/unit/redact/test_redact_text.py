"""Scanning and masking in plain text: overlaps, placeholders, patterns, what comes together anew."""

import itertools
import json

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import InvalidPattern, Redactor, Unscannable
from toolpolicy_sidecar.redact.rule import is_anchored
from toolpolicy_sidecar.redact.scanner import Scanner


def redactor(*patterns: tuple[str, str, str], detectors: tuple[str, ...] = ()) -> Redactor:
    return Redactor.compile(
        snapshot.Redaction(
            detectors=detectors, patterns=tuple(snapshot.Pattern(*pattern) for pattern in patterns)
        )
    )


def test_a_pattern_is_replaced_literally() -> None:
    found = redactor(("ticket", r"TCK-([0-9]{6})", r"[ticket \1 $1]")).text("see TCK-123456, TCK-654321.")
    assert found.value == r"see [ticket \1 $1], [ticket \1 $1]."
    assert found.hits == {"ticket": 2}


def test_what_is_not_hit_is_the_very_same_text() -> None:
    text = "nothing to see"
    found = redactor(("ticket", "TCK", "x"), detectors=("Email",)).text(text)
    assert found.value is text
    assert not found.hits


@pytest.mark.parametrize(
    ("patterns", "text", "redacted", "hits"),
    [
        # Of two that begin together the longer gives the name.
        ((("a", "secret", "<a>"), ("b", "secret word", "<b>")), "a secret word!", "a <b>!", {"b": 1}),
        # Of two alike the first in the policy's order.
        ((("a", "secret", "<a>"), ("b", "s[a-z]+t", "<b>")), "a secret!", "a <a>!", {"a": 1}),
        # The leftmost gives the name, and the region is masked to the end of the last: no tail is left.
        ((("b", "cret word", "<b>"), ("a", "secret", "<a>")), "a secret word!", "a <a>!", {"a": 1}),
        ((("a", "abc", "<a>"), ("b", "cde", "<b>"), ("c", "efg", "<c>")), "xabcdefgx", "x<a>x", {"a": 1}),
        # Neighbours are two.
        ((("a", "abc", "<a>"), ("b", "def", "<b>")), "abcdef", "<a><b>", {"a": 1, "b": 1}),
    ],
)
def test_overlapping_hits_are_one_region(
    patterns: tuple[tuple[str, str, str], ...], text: str, redacted: str, hits: dict[str, int]
) -> None:
    found = redactor(*patterns).text(text)
    assert (found.value, found.hits) == (redacted, hits)


def test_a_placeholder_is_never_hit_again() -> None:
    greedy = redactor(("word", "[A-Za-z]+", "[redacted:word]"), detectors=("Email",))
    assert greedy.text("jane@example.com hi").value == "[redacted:Email] [redacted:word]"
    assert not greedy.text("[redacted:Email] [redacted:word] [redacted:CreditCard]").hits


def test_nothing_hides_in_or_around_something_like_a_placeholder() -> None:
    card = redactor(("around", "key .* end", "[k]"), detectors=("CreditCard",))
    assert card.text("[redacted:4111111111111111]").value == "[redacted:[redacted:CreditCard]]"
    assert card.text("key [redacted:CreditCard] end").value == "[k]"


def test_what_comes_together_anew_is_hit_too() -> None:
    found = redactor(("ab", "ab", "")).text("x aabb y aaabbb")
    assert found.value == "x  y "
    assert found.hits == {"ab": 5}


def test_a_text_that_never_comes_to_rest_is_masked_whole() -> None:
    found = redactor(("ab", "ab", "")).text("a" * 50 + "b" * 50)
    assert found.value == "[redacted:ab]"


def test_a_replacement_that_its_own_pattern_hits_stays() -> None:
    assert redactor(("t", "TCK-[0-9]{6}", "TCK-000000")).text("TCK-123456").value == "TCK-000000"


def test_escapes_are_read_in_text_too() -> None:
    found = redactor(detectors=("Email",)).text(r"log: user jane\u0040example.com in C:\new\users")
    assert found.value == r"log: user [redacted:Email] in C:\new\users"


@pytest.mark.parametrize("pattern", ["^secret$", r"\Asecret\z", r"(?m)^secret$", r"\bsecret\b"])
def test_anchors_mean_the_value(pattern: str) -> None:
    mine = redactor(("s", pattern, "x"))
    assert mine.json(b'{"a": "secret", "b": "a secretary", "c": ["secret"]}').value == (
        b'{"a": "x", "b": "a secretary", "c": ["x"]}'
    )


def test_anchors_mean_the_value_in_nested_json_too() -> None:
    mine = redactor(("s", "^secret$", "x"), ("n", "^[0-9]{4}$", "y"))
    assert mine.json(rb'["[\"secret\", 1234]", "[1234]"]').value == rb'["[\"x\", \"y\"]", "[\"y\"]"]'


def test_a_pattern_that_also_matches_nothing_hides_no_other() -> None:
    mine = redactor(("edge", r"\b", "x"), detectors=("CreditCard",))
    assert mine.json(b"[1, 4111111111111111]").value == b'[1, "[redacted:CreditCard]"]'


@pytest.mark.parametrize(
    ("expression", "anchored"),
    [
        ("abc", False),
        (r"\babc\B", False),
        ("[^a]", False),
        (r"a\^b\$", False),
        (r"\\Abc", True),  # an escaped backslash, then A: a false alarm is harmless
        ("^abc", True),
        ("abc$", True),
        (r"\Aabc", True),
        (r"abc\z", True),
        (r"\[^a", True),
        (r"\Q[\E^a", True),
        ("(?m:^)a", True),
        ("[$]", True),
        ("a\\\n^", True),
    ],
)
def test_expressions_that_may_ask_for_an_edge(expression: str, *, anchored: bool) -> None:
    assert is_anchored(expression) is anchored


def test_a_pattern_that_looks_at_everything_for_each_match_is_given_up() -> None:
    """Its expression is linear, finding all of its matches is not."""
    spent = itertools.count()
    greedy = snapshot.Redaction(patterns=(snapshot.Pattern("greedy", "a.*b|a", "x"),))
    slow = Redactor(Scanner.compile(greedy, b"", lambda: next(spent)), greedy)
    assert slow.text("a a a").value == "x x x"
    with pytest.raises(Unscannable, match="takes too long"):
        slow.text("a " * 1000)
    with pytest.raises(Unscannable, match="takes too long"):
        slow.json(b"[" + b",".join([b'"a"'] * 1000) + b"]")


def test_a_text_of_nothing_but_what_detectors_look_for_is_given_up_when_the_time_is_spent() -> None:
    spent = itertools.count()
    addresses = snapshot.Redaction(detectors=("Email",))
    slow = Redactor(Scanner.compile(addresses, b"", lambda: next(spent)), addresses)
    assert slow.text("a@b.cc a@c.cc").value == "[redacted:Email] [redacted:Email]"
    with pytest.raises(Unscannable, match="takes too long"):
        slow.text("a@b.cc " * 1000)


def test_half_a_character_is_never_left() -> None:
    assert redactor(("byte", r"\C\x{a9}?", "x")).text("é").value == "x"


def test_text_that_is_no_unicode_is_unscannable() -> None:
    with pytest.raises(Unscannable, match="half a surrogate pair"):
        redactor(detectors=("Email",)).text("\ud800")


@pytest.mark.parametrize("regex", ["(", "(?=a)", r"(a)\1", "a{2000}"])
def test_a_pattern_that_does_not_compile_is_named(regex: str) -> None:
    with pytest.raises(InvalidPattern, match=r"pattern 'mine': .") as caught:
        redactor(("mine", regex, "x"))
    assert caught.value.name == "mine"


def test_patterns_that_cannot_be_one_expression_still_work() -> None:
    many = [(f"p{index}", rf"(?P<same>SECRET{index}x[a-z\pL]{{100}})", "[p]") for index in range(20)]
    mine = redactor(*many, ("q", r"\Qa(b", "[q]"))
    assert mine.json(b'["a(b", "SECRET7x' + b"a" * 100 + b'"]').value == b'["[q]", "[p]"]'


@pytest.mark.parametrize(
    ("apply", "request_", "response"),
    [("Request", True, False), ("Response", False, True), ("Both", True, True)],
)
def test_the_direction_is_the_policys(apply: str, *, request_: bool, response: bool) -> None:
    mine = Redactor.compile(snapshot.Redaction(detectors=("Email",), apply=apply, on_unscannable="Pass"))  # type: ignore[arg-type] # parametrised
    assert (mine.on_request, mine.on_response, mine.on_unscannable) == (request_, response, "Pass")


@pytest.mark.parametrize(
    "text",
    [
        "api_key: q7W2e9RtY4uZ3pLkapi_key: Zz8W2e9RtY4uZ3pLq",
        "contraseña: letmein22|contraseña: Zz8W2e9RtY4uZ3pLq",
        'password="letmein22,password="Zz8W2e9RtY4uZ3pLq',
        "password='a:password: Zz8W2e9RtY4uZ3pLq",
        "token: api_key: Zz8W2e9RtY4uZ3pLq",
    ],
)
def test_a_value_that_ends_in_the_next_name_hides_no_other_value(text: str) -> None:
    every = Redactor.compile(snapshot.Redaction(detectors=("Secrets",)))
    left = every.text(text).value
    assert not any(secret in left for secret in ("q7W2", "Zz8W", "letmein22"))
    assert json.loads(every.json(json.dumps([text] * 200).encode()).value) == [left] * 200
    assert every.text(f"{text}\n" * 5000).value == f"{left}\n" * 5000
