"""Headers that a policy chooses: what is hit is gone, and what goes on is a legal header still."""

from urllib.parse import unquote, urlsplit

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.headers import redacted
from toolpolicy_sidecar.redact.redactor import Blocked, Redactor, Unscannable

MAIL = "jane.doe@example.com"


def redactor(*headers: str, **fields: object) -> Redactor:
    made = {"detectors": ("Email", "Secrets")} | fields
    return Redactor.compile(snapshot.Redaction(headers=headers, **made))  # type: ignore[arg-type] # parametrised


def left(name: str, value: str | bytes, *, chosen: str = "*", **fields: object) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    found = redacted(redactor(chosen, **fields), ((name.encode(), raw),))
    return found.headers[0][1]


def test_only_what_is_chosen_by_name_in_any_case() -> None:
    headers = ((b"X-Debug", MAIL.encode()), (b"X-Other", MAIL.encode()))
    found = redacted(redactor("x-DEBUG"), headers)
    assert found.headers == ((b"X-Debug", b"[redacted:Email]"), headers[1])
    assert found.hits == {"Email": 1}
    assert redacted(redactor("X-None"), headers) == (headers, {})


@pytest.mark.parametrize(
    "name", ["Content-Type", "content-length", "Host", "Mcp-Session-Id", "Transfer-Encoding"]
)
def test_what_the_message_is_read_by_stays(name: str) -> None:
    assert left(name, MAIL) == MAIL.encode()


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "Set-Cookie"])
def test_credentials_are_looked_at_if_they_are_named(name: str) -> None:
    assert left(name, f"a={MAIL}; Path=/") == f"a={MAIL}; Path=/".encode()
    assert left(name, f"a={MAIL}; Path=/", chosen=name) == b"a=[redacted:Email]; Path=/"


def test_a_value_is_read_with_its_name() -> None:
    secret = "kT8v2PqLz0RmW4yXc6Nd"
    assert left("X-Whatever", secret) == secret.encode()
    assert secret.encode() not in left("X-Api-Key", secret)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (f"https://a.example/x?mail={MAIL}&b=%20c", "https://a.example/x?mail=%5Bredacted%3AEmail%5D&b=%20c"),
        ("/kb/jane.doe%40example.com/y", "/kb/%5Bredacted%3AEmail%5D/y"),
        (
            f"https://a.example/cb#state=1&mail={MAIL}",
            "https://a.example/cb#state=1&mail=%5Bredacted%3AEmail%5D",
        ),
        ("https://[::1]:8080/x%2Fy?z", "https://[::1]:8080/x%2Fy?z"),
    ],
)
def test_a_url_stays_one(url: str, wanted: str) -> None:
    found = left("Location", url)
    assert found == wanted.encode()
    assert MAIL not in unquote(found.decode())
    assert urlsplit(found.decode()).netloc == urlsplit(url).netloc


def test_user_and_password_of_a_url_are_taken_out() -> None:
    found = left("Location", "https://joe:kT8v2PqLz0RmW4yX@a.example/x")
    assert found == b"https://a.example/x"


def test_a_redirect_to_another_host_than_the_tool_said_is_not_made_up() -> None:
    with pytest.raises(Unscannable, match="another one"):
        left("Location", "https://10.20.30.40/x", detectors=("IPAddress",), min_confidence="Low")
    with pytest.raises(Unscannable, match="malformed"):
        left("Location", "https://[half/x")


def test_a_replacement_begins_no_other_header() -> None:
    pattern = snapshot.Pattern("ticket", "TCK-[0-9]+", "one\r\nX-Two: 2\x00")
    assert left("X-A", "see TCK-17", patterns=(pattern,)) == b"see one  X-Two: 2"


def test_bytes_that_are_no_utf8_stay() -> None:
    assert left("X-A", b"caf\xe9 " + MAIL.encode()) == b"caf\xe9 [redacted:Email]"
    assert left("X-A", "café ".encode() + MAIL.encode()) == "café [redacted:Email]".encode()


def test_actions() -> None:
    assert left("X-A", MAIL, action="Drop") == b""
    with pytest.raises(Blocked, match="Email"):
        left("X-A", MAIL, action="Block")
