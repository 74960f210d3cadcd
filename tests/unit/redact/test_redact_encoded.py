"""What is encoded is found as if it were not, and what is clean is not touched for being encoded."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import wrapped
from toolpolicy_sidecar.redact.detectors import DETECTORS
from toolpolicy_sidecar.redact.lookalikes import plain
from toolpolicy_sidecar.redact.redactor import Redactor, Unscannable

ALL = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial"), min_confidence="Low"))
CYRILLIC = str.maketrans("aceopxy", "\u0430\u0441\u0435\u043e\u0440\u0445\u0443")
LONG_ENOUGH = 16
"""Bytes: base64 and hexadecimal are not opened for less."""


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "JSON": json.dumps,
    "JSON twice": lambda text: json.dumps(json.dumps(text)),
    "form": lambda text: f"a=1&v={quote_plus(text)}&z=2",
    "\\u": lambda text: "".join(f"\\u{ord(c):04x}" if c.isascii() else c for c in text),
    "\\x": lambda text: "".join(f"\\x{ord(c):02x}" if c.isascii() else c for c in text),
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent twice": lambda text: "".join(f"%25{byte:02x}" for byte in text.encode()),
    "base64": base64_of,
    "base64, for URLs, unpadded": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 twice": lambda text: base64_of(base64_of(text)),
    "base64 in lines": lambda text: base64.encodebytes(f"{text}\n".encode() * 3).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "HEXADECIMAL": lambda text: text.encode().hex().upper(),
    "decimal entities": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "hexadecimal entities": lambda text: "".join(f"&#x{ord(c):X};" for c in text),
    "named entities": html.escape,
    "entities in percent": lambda text: "".join(f"%26%23{ord(c)}%3B" for c in text),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "zero width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "Cyrillic": lambda text: text.translate(CYRILLIC),
    "tags": lambda text: "".join(chr(ord(c) + 0xE0000) if " " <= c <= "~" else c for c in text),
}
BY_WHOLE_WORDS = {name for name in ENCODINGS if "base64" in name or "hex" in name.lower()}
EXAMPLES = [
    example
    for detector in DETECTORS.values()
    for example in detector.examples
    if example.isascii() and len(example) >= LONG_ENOUGH
]


@pytest.mark.parametrize("name", ENCODINGS)
def test_nearly_every_example_is_found_in_every_encoding(name: str) -> None:
    missed = [text for text in EXAMPLES if not ALL.text(f"see {ENCODINGS[name](text)} there").hits]
    assert len(missed) <= len(EXAMPLES) * 0.05, missed


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_nothing_of_it_is_left_and_a_second_pass_changes_nothing(name: str) -> None:
    encoded = ENCODINGS[name]("mail jane.doe@example.com at once")
    data = json.dumps({"before": 1, "text": encoded, "after": "x@y"}).encode()
    found = ALL.json(data)
    assert json.loads(found.value).keys() == {"before", "text", "after"}
    assert encoded.encode() not in found.value
    assert ALL.json(found.value) == (found.value, {})


def test_around_a_hit_everything_stays_as_it_is_written() -> None:
    found = ALL.text("50%25 off &amp; free \uff21 : jane%40example.com &lt;b&gt;")
    assert found.value == "50%25 off &amp; free \uff21 : [redacted:Email] &lt;b&gt;"


def test_base64_is_written_again_with_the_hit_taken_out() -> None:
    document = json.dumps({"name": "Jane", "mail": "jane.doe@example.com"})
    found = ALL.text(f"data:application/json;base64,{base64_of(document)}")
    head, _, body = found.value.partition(",")
    assert head == "data:application/json;base64"
    assert json.loads(base64.b64decode(body)) == {"name": "Jane", "mail": "[redacted:Email]"}
    assert found.hits == {"Email": 1}


def test_base64_that_goes_on_with_bytes_stays_readable() -> None:
    written = base64_of("jane.doe@example.com ") + base64.b64encode(bytes(range(128, 158))).decode()
    found = ALL.text(written)
    content = base64.b64decode(found.value)
    assert content.startswith(b"[redacted:Email]")
    assert content.endswith(bytes(range(128, 158)))


def test_case_and_alphabet_are_kept() -> None:
    secret = "jane.doe@example.com"
    assert ALL.text(secret.encode().hex().upper()).value == b"[redacted:Email]".hex().upper()
    urlsafe = base64.urlsafe_b64encode(b"?>?>" + b" jane.doe@example.com >>").decode()
    assert "_" in urlsafe + ALL.text(urlsafe).value
    assert "/" not in ALL.text(urlsafe).value


def test_what_is_wrapped_too_often_is_not_vouched_for() -> None:
    text = "mail jane.doe@example.com at once"
    for _ in range(3):
        text = base64_of(text)
    assert ALL.text(text).hits
    with pytest.raises(Unscannable, match="more than 3 deep"):
        ALL.text(base64_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "100% of it & more; a=1+1",
        "?q=caf%C3%A9+au+lait&x=%00%ff",
        "&notanentity; &#0; &#xD800; &#1114112; &",
        base64_of("nothing to see here, move along"),
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "6f1c9a52-8c0f-4f7e-9d57-2f5d2f0d8a11",
        "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440 \u2013 \u201cquoted\u201d",
        "\u200b\u200b",
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    ],
)
def test_what_is_clean_is_the_very_same(text: str) -> None:
    assert ALL.text(text) == (text, {})


PIECES = st.one_of(
    st.sampled_from(
        ["jane.doe@example.com", " ", "=", "&", "%", "%25", "\\", "\u200b", "\u0435", "-", "/", "+", "A"]
    ),
    st.text(max_size=12).filter(lambda text: text.isprintable()),
)
NESTED = st.recursive(
    st.lists(PIECES, max_size=4).map("".join),
    lambda inner: st.builds(
        lambda name, text, before: before + ENCODINGS[name](text),
        st.sampled_from(sorted(ENCODINGS)),
        inner,
        st.sampled_from(["", " ", "x=", "path/"]),
    ),
    max_leaves=3,
)


@given(NESTED)
@settings(max_examples=200, deadline=None)
def test_whatever_is_encoded_comes_to_rest(text: str) -> None:
    data = json.dumps([text, "other"]).encode()
    try:
        found = ALL.json(data)
    except Unscannable:
        return
    json.loads(found.value)
    assert found.hits or found.value is data
    assert ALL.json(found.value) == (found.value, {})


@given(st.text(max_size=40), st.sampled_from(["", "=", "\n", "zz", "/"]))
def test_runs_are_in_order_and_wrap_what_they_unwrap(text: str, after: str) -> None:
    for spelled in (base64_of(text), text.encode().hex()):
        whole = f"a {spelled}{after} b".encode()
        end = 0
        for run in wrapped.runs(whole):
            assert end <= run.start < run.end <= len(whole)
            end = run.end
            again = next(wrapped.runs(run.wrap(run.content)), None)
            assert again is not None
            assert again.content.rstrip() == run.content.rstrip()


@given(st.text())
def test_look_alikes_are_read_once(text: str) -> None:
    assert plain(plain(text)) == plain(text)
