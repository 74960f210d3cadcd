"""What stands in the place of what is hit, or that nothing passes at all."""

import json
import re

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import Blocked, Redactor, Unscannable

CARD = "4111 1111 1111 1111"


def redactor(action: snapshot.Action, *, key: bytes = b"a key", pattern: str | None = None) -> Redactor:
    patterns = (snapshot.Pattern("ticket", "TCK-[0-9]{6}", pattern),)
    return Redactor.compile(
        snapshot.Redaction(detectors=("Email", "CreditCard"), patterns=patterns, action=action), key
    )


def test_hash_tells_values_apart_and_says_the_same_for_the_same() -> None:
    found = redactor("Hash").json(
        json.dumps(
            {"from": "jane@example.com", "to": "joe@example.com", "cc": "jane@example.com TCK-123456"}
        ).encode()
    )
    document = json.loads(found.value)
    assert re.fullmatch(r"\[redacted:Email:[a-p]{18}\]", document["from"])
    assert document["from"] != document["to"]
    assert document["cc"].startswith(document["from"] + " [redacted:ticket:")
    assert found.hits == {"Email": 3, "ticket": 1}


def test_hash_is_the_same_however_the_value_is_written() -> None:
    hashing = redactor("Hash")
    values = [CARD, CARD.replace(" ", "-"), CARD.replace(" ", "")]
    document = json.dumps([*values, int(values[-1])])
    assert len(set(json.loads(hashing.json(document.encode()).value))) == 1
    assert hashing.text("jane@example.com").value == hashing.text(r"jane\u0040example.com").value


def test_hash_depends_on_the_key() -> None:
    values = {redactor("Hash", key=key).text("jane@example.com").value for key in (b"a", b"b")}
    assert len(values) == 2


def test_what_was_hashed_is_not_hashed_again() -> None:
    hashing = redactor("Hash")
    once = hashing.text(f"jane@example.com {CARD} TCK-123456").value
    assert hashing.text(once) == (once, {})
    greedy = Redactor.compile(
        snapshot.Redaction(patterns=(snapshot.Pattern("word", "[a-z]{3,}"),), action="Hash"), b"a key"
    )
    once = greedy.text("one two").value
    assert greedy.text(once) == (once, {})


def test_nobody_else_can_write_a_placeholder_that_hides_something() -> None:
    greedy = Redactor.compile(
        snapshot.Redaction(patterns=(snapshot.Pattern("word", "[a-p]{18}"),), action="Hash"), b"a key"
    )
    forged = "[redacted:word:abcdefghijklmnopab]"
    assert greedy.text(forged).hits == {"word": 1}


def test_drop_leaves_nothing() -> None:
    found = redactor("Drop", pattern="").json(
        b'{"to": "jane@example.com", "n": 4111111111111111, "t": "a TCK-123456 b"}'
    )
    assert found.value == b'{"to": "", "n": "", "t": "a  b"}'


@pytest.mark.parametrize("action", ["Hash", "Drop", "Mask"])
def test_a_patterns_own_replacement_stands(action: snapshot.Action) -> None:
    assert redactor(action, pattern="[t]").text("TCK-123456").value == "[t]"


def test_a_path_from_which_a_segment_is_dropped_is_none() -> None:
    with pytest.raises(Unscannable, match="another one"):
        redactor("Drop").path("/users/jane@example.com/mail")


def test_block_lets_nothing_pass_and_says_what_it_was() -> None:
    blocking = redactor("Block", pattern="[t]")
    for scan in (
        lambda: blocking.text(f"{CARD} TCK-123456"),
        lambda: blocking.json(json.dumps([CARD, "TCK-123456"]).encode()),
        lambda: blocking.query("a=4111111111111111&b=TCK-123456"),
        lambda: blocking.form(b"a=4111111111111111&b=TCK-123456"),
        lambda: blocking.path("/4111111111111111/TCK-123456"),
    ):
        with pytest.raises(Blocked) as caught:
            scan()
        assert set(str(caught.value).split(", ")) == {"CreditCard (1)", "ticket (1)"}
    assert blocking.json(b'["nothing"]').value == b'["nothing"]'
