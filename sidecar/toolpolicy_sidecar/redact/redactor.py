"""A policy's redaction, compiled: texts, JSON, forms, query strings and paths."""

from collections import Counter
from collections.abc import Callable, Mapping
from copy import copy
from urllib.parse import quote, quote_plus, unquote_to_bytes

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import document, in_place
from toolpolicy_sidecar.redact.fields import Fields
from toolpolicy_sidecar.redact.headers import ChosenHeaders
from toolpolicy_sidecar.redact.in_place import Changed
from toolpolicy_sidecar.redact.scanner import Scanner
from toolpolicy_sidecar.redact.tokens import Session
from toolpolicy_sidecar.redact.values import Values
from toolpolicy_sidecar.redact.verdict import (
    Blocked,
    InvalidPattern,
    Redacted,
    T,
    Unparsable,
    Unscannable,
)
from toolpolicy_sidecar.remembered import remembered

__all__ = ["Blocked", "InvalidPattern", "Redacted", "Redactor", "Unscannable"]

_NO_HITS: Mapping[str, int] = {}


class Redactor:
    """Every method raises Unscannable for what cannot be read, and Blocked when the policy's action is Block and
    something is hit."""

    def __init__(self, scanner: Scanner, redaction: snapshot.Redaction) -> None:
        self._scanner, self._values = scanner, Values(scanner)
        self.on_request = redaction.apply in {"Request", "Both"}
        self.on_response = redaction.apply in {"Response", "Both"}
        self.on_unscannable = redaction.on_unscannable
        self.blocks = redaction.action == "Block"
        self.headers = ChosenHeaders(redaction.headers)
        self.reads_headers = bool(self.headers)
        self._fields = Fields(redaction.fields, scanner.placeholders)
        self._plain_path = remembered(lambda path: path.isascii() and scanner.unremarkable(path.encode()))

    @classmethod
    def compile(cls, redaction: snapshot.Redaction, key: bytes = b"") -> "Redactor":
        """`key`: the secret behind the placeholders of the action Hash. Raises InvalidPattern."""
        return cls(Scanner.compile(redaction, key), redaction)

    def of(self, session: Session | None) -> "Redactor":
        """The same for one conversation, where it matters: the action Tokenize."""
        if not self._scanner.tokenizes:
            return self
        redactor = copy(self)
        redactor._scanner = self._scanner.of(session)  # noqa: SLF001 -- our own
        redactor._values = Values(redactor._scanner)  # noqa: SLF001
        return redactor

    def _verdict(self, raw: T, value: T, hits: Mapping[str, int]) -> Redacted[T]:
        if hits and self.blocks:
            raise Blocked(hits)
        return Redacted(value if hits else raw, hits)

    def at_once(self, message: bytes) -> Changed | None:
        """A valid JSON document, whatever part of it would be looked at. None: each part must be, by itself."""
        if self._fields or document.too_deep(message):
            return None
        first = self._scanner.remarkable(message)
        if first is None:
            return Changed(message, _NO_HITS, 0, 0)
        return None if self.blocks else in_place.redacted(self._scanner, message, first)

    def unremarkable(self, text: bytes) -> bool:
        """True: nothing is hit in any part of this text, however it is decoded. False: it has to be looked at."""
        return self._scanner.unremarkable(text)

    def light(self, text: bytes) -> bool:
        """True: for its size it is quickly done."""
        return self._scanner.in_place or self._scanner.unremarkable(text)

    def text(self, text: str) -> Redacted[str]:
        """A text of any kind; one that is a JSON document is opened."""
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise Unparsable("text with half a surrogate pair") from None
        hits = Counter[str]()
        value = self._values.value(data, hits)
        return self._verdict(text, value.decode(), hits)

    def named(self, name: bytes, text: bytes) -> Redacted[bytes]:
        """A text of UTF-8 that stands under a name, such as that of a header."""
        hits = Counter[str]()
        return self._verdict(text, self._values.value(text, hits, name), hits)

    def json(self, data: bytes) -> Redacted[bytes]:
        """Every string, key and number of a JSON document."""
        document.check(data)
        first = self._scanner.remarkable(data)
        if first is None:
            return Redacted(data, _NO_HITS)
        found = in_place.redacted(self._scanner, data, first)
        if found is not None:
            if self.blocks:
                raise Blocked(found.hits)
            return Redacted(found.value, found.hits)
        hits = Counter[str]()
        return self._verdict(data, self._values.document(data, hits), hits)

    def document(self, data: bytes) -> Redacted[bytes]:
        """The same, after the policy's `fields` of it."""
        if not self._fields:
            return self.json(data)
        document.check(data)
        return self._after_fields(data, self._fields.redact)

    def result(self, data: bytes, rest: Callable[[bytes], Redacted[bytes]]) -> Redacted[bytes]:
        """The result of an MCP tool, with its fields where results have them, then as `rest` does."""
        if not self._fields:
            return rest(data)
        document.check(data)
        return self._after_fields(data, self._fields.redact_result, rest)

    def field_values(self, data: bytes) -> frozenset[bytes]:
        """What `fields` takes out of a valid document."""
        return self._fields.values(data) if self._fields else frozenset()

    def _after_fields(
        self,
        data: bytes,
        redact: Callable[[bytes, Counter[str]], bytes],
        rest: Callable[[bytes], Redacted[bytes]] | None = None,
    ) -> Redacted[bytes]:
        hits = Counter[str]()
        left = redact(data, hits)
        found = (rest or self.json)(left)
        return Redacted(found.value, hits + Counter(found.hits)) if hits else found

    def query(self, raw: str) -> Redacted[str]:
        """`a=b&c=d` as sent: each name, each value, and both together."""
        hits = Counter[str]()
        value = "&".join([self._pair(pair, hits) for pair in raw.split("&")])
        return self._verdict(raw, value, hits)

    def form(self, data: bytes) -> Redacted[bytes]:
        """The same as a body."""
        try:
            found = self.query(data.decode())
        except UnicodeDecodeError:
            raise Unparsable("a form that is not UTF-8") from None
        return Redacted(found.value.encode() if found.hits else data, found.hits)

    def path(self, raw: str) -> Redacted[str]:
        """Each segment, then the path as a whole. Raises Unscannable, also when a redacted path would
        lead elsewhere."""
        if self._plain_path(raw):
            return Redacted(raw, _NO_HITS)
        hits = Counter[str]()
        segments: list[str] = []
        plain: list[bytes] = []
        for segment in raw.split("/"):
            text = _percent_decoded(segment)
            value = self._values.value(text, hits)
            segments.append(segment if value is text else quote(value, safe=""))
            plain.append(value)
        text = b"/".join(plain)
        whole = self._values.value(text, hits)
        if whole is not text:
            if any(b"/" in segment for segment in plain):
                raise Unscannable("a path with an encoded slash and something to redact")
            segments = [quote(segment, safe="") for segment in whole.split(b"/")]
        emptied = segments.count("") > raw.split("/").count("")
        if hits and (emptied or any(segment in {".", ".."} for segment in segments)):
            raise Unscannable("a path that redaction would turn into another one")
        return self._verdict(raw, "/".join(segments), hits)

    def _pair(self, raw: str, hits: Counter[str]) -> str:
        if raw.isascii() and self._scanner.unremarkable(raw.encode()):
            return raw
        words: list[str] = []
        plain: list[bytes] = []
        for word in raw.split("=", 1):
            text = _percent_decoded(word.replace("+", " "))
            value = self._values.value(text, hits)
            words.append(word if value is text else quote_plus(value))
            plain.append(value)
        text = b"=".join(plain)
        whole = self._values.value(text, hits)
        if whole is not text:
            words = [quote_plus(word) for word in whole.split(b"=", 1)]
        return "=".join(words)


def _percent_decoded(text: str) -> bytes:
    """UTF-8, checked."""
    try:
        decoded = unquote_to_bytes(text)
        decoded.decode()
    except UnicodeError:
        raise Unparsable("percent-encoded bytes that are not UTF-8") from None
    return decoded
