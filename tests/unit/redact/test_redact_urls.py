"""Query strings, forms and paths: decoded to scan, encoded anew only where something was hit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import Redactor, Unscannable

MASK = "%5Bredacted%3AEmail%5D"
ALL = Redactor.compile(
    snapshot.Redaction(
        detectors=("Email", "CreditCard"),
        patterns=(
            snapshot.Pattern("token", r"token=\w+", "token="),
            snapshot.Pattern("user", "users/[0-9]+", "users/x"),
            snapshot.Pattern("gone", "GONE", ""),
        ),
    )
)


@pytest.mark.parametrize(
    ("raw", "redacted"),
    [
        ("", ""),
        ("a=b&&c&=d&e=%20+%2b", "a=b&&c&=d&e=%20+%2b"),
        ("to=jane%40example.com&n=1", f"to={MASK}&n=1"),
        ("to=j%61ne@example.com", f"to={MASK}"),
        ("jane@example.com=x", f"{MASK}=x"),
        ("jane@example.com", MASK),
        ("q=hello+jane@example.com+%26", f"q=hello+{MASK}+%26"),
        ("card=4111+1111+1111+1111", "card=%5Bredacted%3ACreditCard%5D"),
        ("a=b=jane@example.com", f"a=b%3D{MASK}"),
        ("x=1&token=abc123&y=2", "x=1&token=&y=2"),
        ("j=%7B%22a%22:%22jane%5Cu0040example.com%22%7D", "j=%7B%22a%22%3A%22%5Bredacted%3AEmail%5D%22%7D"),
        ("bad=%zz%4", "bad=%zz%4"),
    ],
)
def test_queries_and_forms(raw: str, redacted: str) -> None:
    assert ALL.query(raw).value == redacted
    assert ALL.form(raw.encode()).value == redacted.encode()


@pytest.mark.parametrize(
    ("raw", "redacted"),
    [
        ("/", "/"),
        ("/v1/a%2Fb/%20;x=1//", "/v1/a%2Fb/%20;x=1//"),
        ("/mail/jane@example.com/a%20b", f"/mail/{MASK}/a%20b"),
        ("/mail/jane%40example.com", f"/mail/{MASK}"),
        ("/v1/users/12345/a%20b", "/v1/users/x/a%20b"),
    ],
)
def test_paths(raw: str, redacted: str) -> None:
    assert ALL.path(raw).value == redacted


@pytest.mark.parametrize("raw", ["a=%ff", "%c0%80=1", "a=\udc80"])
def test_what_is_not_utf8_is_unscannable(raw: str) -> None:
    with pytest.raises(Unscannable, match="not UTF-8"):
        ALL.query(raw)
    with pytest.raises(Unscannable, match="not UTF-8"):
        ALL.path("/" + raw)
    with pytest.raises(Unscannable, match="not UTF-8"):
        ALL.form(raw.encode(errors="surrogateescape"))


@pytest.mark.parametrize("raw", ["/a/.GONE./b", "/GONE.", "/a%2Fb/users/12"])
def test_a_path_never_becomes_another_one(raw: str) -> None:
    with pytest.raises(Unscannable, match="path"):
        ALL.path(raw)


@given(st.text(st.sampled_from("ab&=+%4041/@.co"), max_size=40))
def test_clean_urls_stay_and_redacted_ones_come_to_rest(raw: str) -> None:
    try:
        found = ALL.query(raw)
    except Unscannable:
        return
    assert found.hits or found.value is raw
    again = ALL.query(found.value)
    assert not again.hits
    assert again.value == found.value
