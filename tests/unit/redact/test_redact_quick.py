"""Small and plain texts take a shorter way, to the same end."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import Redactor

FRAGMENTS = st.sampled_from(
    [
        "jane@example.com",
        "a@b.io",
        "jane",
        "@",
        " ",
        ",",
        ":",
        "{}",
        "[1]",
        "[",
        "12",
        "-1.5e3",
        "[email]",
        "x" * 40,
    ]
)
TEXTS = st.lists(FRAGMENTS, max_size=5).map("".join)
DOCUMENTS = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


def redactor(*patterns: str) -> Redactor:
    found = tuple(snapshot.Pattern(f"p{at}", regex, "[email]") for at, regex in enumerate(patterns))
    return Redactor.compile(snapshot.Redaction(patterns=found))


@pytest.mark.parametrize(
    "patterns",
    [
        (r"[a-z.]+@[a-z]+\.[a-z]+",),
        (r"[a-z]+@[a-z.]+", r"1[0-9]"),
        (r"@.*",),
        (r"^jane",),
        (r"e\": \"",),
    ],
)
@settings(max_examples=30, deadline=None)
@given(document=DOCUMENTS)
def test_what_stands_beside_a_text_does_not_change_what_is_done_with_it(
    patterns: tuple[str, ...], document: object
) -> None:
    """An ampersand anywhere takes the whole document the long way."""
    found = redactor(*patterns)
    alone = json.loads(found.json(json.dumps([document]).encode()).value)
    both = json.loads(found.json(json.dumps([document, "&"]).encode()).value)
    assert both[0] == alone[0]
