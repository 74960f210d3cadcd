"""The header fields that a policy chooses. A redacted value is a legal one still, and a URL still a URL."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from toolpolicy_api.headers import CREDENTIALS, never_redacted
from toolpolicy_sidecar.redact.verdict import Redacted, Unscannable
from toolpolicy_sidecar.upstream.headers import Header

if TYPE_CHECKING:
    from toolpolicy_sidecar.redact.redactor import Redactor

ALL = "*"

_URLS = frozenset({b"location", b"content-location", b"referer"})
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
"""A pattern's replacement may hold them; in a header they would begin another one."""


class ChosenHeaders:
    """`*` stands for all but those that carry credentials on purpose, which have to be named."""

    def __init__(self, names: Iterable[str]) -> None:
        chosen = {name.lower() for name in names}
        self._named = frozenset(name.encode() for name in chosen - {ALL})
        self._all = ALL in chosen

    def __bool__(self) -> bool:
        return self._all or bool(self._named)

    def has(self, name: bytes) -> bool:
        """`name` in lower case. What the message is read by is never chosen."""
        if name in self._named:
            return True
        if not self._all:
            return False
        text = name.decode("latin-1")
        return text not in CREDENTIALS and not never_redacted(text)


class RedactedHeaders(NamedTuple):
    """`hits` empty: `headers` is what came in."""

    headers: tuple[Header, ...]
    hits: Mapping[str, int]


def redacted(redactor: "Redactor", headers: tuple[Header, ...]) -> RedactedHeaders:
    """Raises Unscannable, Blocked."""
    hits = Counter[str]()
    left: list[Header] = []
    for header in headers:
        name, value = header[0].lower(), header[1]
        if not redactor.headers.has(name):
            left.append(header)
            continue
        found = _url(redactor, value) if name in _URLS else _value(redactor, name, value)
        hits.update(found.hits)
        left.append((header[0], found.value) if found.hits else header)
    return RedactedHeaders(tuple(left) if hits else headers, hits)


def _value(redactor: "Redactor", name: bytes, value: bytes) -> Redacted[bytes]:
    """Read together with its name, as a value of JSON is with its key."""
    try:
        text, charset = value.decode(), "utf-8"
    except UnicodeDecodeError:
        text, charset = value.decode("latin-1"), "latin-1"
    found = redactor.named(name, text.encode())
    if not found.hits:
        return Redacted(value, found.hits)
    legal = found.value.decode().encode(charset, "replace")
    return Redacted(_CONTROLS.sub(b" ", legal).strip(), found.hits)


def _url(redactor: "Redactor", value: bytes) -> Redacted[bytes]:
    """Its parts, each as a request's would be. What stands before the host is taken out whole."""
    try:
        parts = urlsplit(value.decode())
    except ValueError:
        raise Unscannable("a header with a malformed URL") from None
    hits = Counter[str]()
    place = parts.netloc
    if before := redactor.text(f"{parts.scheme}://{place}").hits:
        hits.update(before)
        place = place.rpartition("@")[2]
        if place == parts.netloc or redactor.text(f"{parts.scheme}://{place}").hits:
            raise Unscannable("a header with a URL that redaction would turn into another one")
    path = redactor.path(parts.path)
    query, fragment = redactor.query(parts.query), redactor.query(parts.fragment)
    for part in (path, query, fragment):
        hits.update(part.hits)
    if not hits:
        return Redacted(value, hits)
    url = urlunsplit((parts.scheme, place, path.value, query.value, fragment.value))
    return Redacted(url.encode(), hits)
