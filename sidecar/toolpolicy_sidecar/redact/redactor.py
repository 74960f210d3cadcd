"""A policy's redaction, compiled: texts, JSON, forms, query strings and paths."""

from collections import Counter
from collections.abc import Callable, Mapping
from copy import copy
from urllib.parse import quote, quote_plus, unquote_to_bytes

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import binary, document, in_place, wrapped
from toolpolicy_sidecar.redact.fields import Fields
from toolpolicy_sidecar.redact.headers import ChosenHeaders
from toolpolicy_sidecar.redact.in_place import Changed
from toolpolicy_sidecar.redact.placeholder import mask
from toolpolicy_sidecar.redact.scanner import DISGUISED, NOWHERE, Scanner
from toolpolicy_sidecar.redact.tokens import Session
from toolpolicy_sidecar.redact.verdict import (
    Blocked,
    InvalidPattern,
    Redacted,
    T,
    TooDeep,
    Unparsable,
    Unscannable,
)
from toolpolicy_sidecar.redact.views import rereadings, unescape

__all__ = ["NESTED", "Blocked", "InvalidPattern", "Redacted", "Redactor", "Unscannable"]

NESTED = 3
"""JSON in a JSON string, base64 and hexadecimal are opened this deep. Deeper, with more of it left that could hide
something, it is Unscannable."""

_NO_HITS: Mapping[str, int] = {}
_PASSES = 4


class Redactor:
    """Every method raises Unscannable for what cannot be read, and Blocked when the policy's action is Block and
    something is hit."""

    def __init__(self, scanner: Scanner, redaction: snapshot.Redaction) -> None:
        self._scanner = scanner
        self.on_request = redaction.apply in {"Request", "Both"}
        self.on_response = redaction.apply in {"Response", "Both"}
        self.on_unscannable = redaction.on_unscannable
        self.blocks = redaction.action == "Block"
        self.headers = ChosenHeaders(redaction.headers)
        self._fields = Fields(redaction.fields, scanner.placeholders)

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
        return redactor

    def _verdict(self, raw: T, value: T, hits: Mapping[str, int]) -> Redacted[T]:
        if hits and self.blocks:
            raise Blocked(hits)
        return Redacted(value if hits else raw, hits)

    def at_once(self, message: bytes) -> Changed | None:
        """A valid JSON document, whatever part of it would be looked at. None: each part must be, by itself."""
        if self._fields or document.too_deep(message):
            return None
        place = self._scanner.remarkable(message)
        if place is None:
            return Changed(message, _NO_HITS, 0, 0)
        return None if self.blocks else in_place.redacted(self._scanner, message, place)

    def text(self, text: str) -> Redacted[str]:
        """A text of any kind; one that is a JSON document is opened."""
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise Unparsable("text with half a surrogate pair") from None
        hits = Counter[str]()
        value = self._value(data, 0, hits)
        return self._verdict(text, value.decode(), hits)

    def named(self, name: bytes, text: bytes) -> Redacted[bytes]:
        """A text of UTF-8 that stands under a name, such as that of a header."""
        hits = Counter[str]()
        return self._verdict(text, self._value(text, 0, hits, name), hits)

    def json(self, data: bytes) -> Redacted[bytes]:
        """Every string, key and number of a JSON document."""
        document.check(data)
        place = self._scanner.remarkable(data)
        if place is None:
            return Redacted(data, _NO_HITS)
        found = in_place.redacted(self._scanner, data, place)
        if found is not None:
            return self._verdict(data, found.value, found.hits)
        hits = Counter[str]()
        return self._verdict(data, self._document(data, 0, hits), hits)

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
        if raw.isascii() and self._scanner.unremarkable(raw.encode()):
            return Redacted(raw, _NO_HITS)
        hits = Counter[str]()
        segments: list[str] = []
        plain: list[bytes] = []
        for segment in raw.split("/"):
            text = _percent_decoded(segment)
            value = self._value(text, 0, hits)
            segments.append(segment if value is text else quote(value, safe=""))
            plain.append(value)
        text = b"/".join(plain)
        whole = self._value(text, 0, hits)
        if whole is not text:
            if any(b"/" in segment for segment in plain):
                raise Unscannable("a path with an encoded slash and something to redact")
            segments = [quote(segment, safe="") for segment in whole.split(b"/")]
        emptied = segments.count("") > raw.split("/").count("")
        if hits and (emptied or any(segment in {".", ".."} for segment in segments)):
            raise Unscannable("a path that redaction would turn into another one")
        return self._verdict(raw, "/".join(segments), hits)

    def _document(self, data: bytes, depth: int, hits: Counter[str]) -> bytes:
        """Of valid JSON, with everything that is hit replaced. `depth`: in how many strings it stood.

        This and what follows return their very argument when nothing is hit.
        """
        scanner = self._scanner
        if not scanner.anchored and not self._may_hit(data, NESTED + 2 - depth):
            return data
        tokens, patience = document.Tokens(data), scanner.patience(len(data))
        clean: set[bytes] = set()
        pieces: list[bytes] = []
        at = put = end = disguise = 0
        begin, value_at, key = NOWHERE[0], -1, b""
        while True:
            if end <= at:
                patience.spend()
                begin, end = scanner.suspect(data, at)
            if disguise < at:
                disguise = _disguised(data, at)
            place = value_at if key else min(max(begin, at), disguise)
            match = tokens.reaching(place) if place < len(data) else None
            if match is None:
                break
            start, at = match.span()
            token = match.group()
            if start != value_at:
                key = b""
            if disguise < start:
                disguise = _disguised(data, start)
            if token[:1] == b'"':
                plain = at <= disguise
                text = token[1:-1] if plain else document.string_value(token)
                if not key and text in clean:
                    value = text
                else:
                    value = self._value(text, depth, hits, key, plain=plain)
                    if plain and not key and value is text:
                        clean.add(text)
                named = document.NAMED.match(data, at) if scanner.keyed else None
                key, value_at = (text, named.end()) if named else (b"", -1)
            else:
                text = token
                value = self._number(token, hits, key)
                key = b""
            if value is not text:
                pieces += [data[put:start], document.string_token(value)]
                put = at
        return b"".join([*pieces, data[put:]]) if pieces else data

    def _number(self, token: bytes, hits: Counter[str], key: bytes) -> bytes:
        untouched = not self._scanner.regions(token, key, plain=True)
        value = token if untouched else self._value(token, 0, hits, key)
        written_out = document.written_out(token) if value is token else None
        if written_out is not None:
            found = self._value(written_out, 0, hits)
            return token if found is written_out else found
        return value

    def _value(
        self, text: bytes, depth: int, hits: Counter[str], key: bytes = b"", *, plain: bool = False
    ) -> bytes:
        """One text: opened if it is JSON, then scanned as it is, and with its key. Again until nothing is hit,
        since what is left may come together anew; a text that never comes to rest is masked whole. `plain`: it reads
        in no other way."""
        name = ""
        if plain and not document.looks_like_one(text):
            regions = self._scanner.regions(text, key, plain=True)
            if not regions:
                return text
            text = self._scanner.redacted(text, regions, hits)
        opened = binary.opened(text) if depth < NESTED else None
        if opened is not None:
            return opened.redacted(lambda run: self._value(run, depth + 1, hits))
        for _ in range(_PASSES):
            found = Counter[str]()
            left = self._once(text, depth, found, key)
            if left is text:
                return text
            hits.update(found)
            text, name = left, next(iter(found))
        hits[name] += 1
        return mask(name)

    def _once(self, text: bytes, depth: int, hits: Counter[str], key: bytes) -> bytes:
        opened = document.is_one(text)
        if opened and depth == NESTED:
            if b"\\" in text:
                raise TooDeep(f"JSON in strings of JSON, more than {NESTED} deep")
            opened = False
        if opened:
            text = self._document(text, depth + 1, hits)
        regions = self._scanner.regions(text, key, opened=opened)
        if regions:
            text = self._scanner.redacted(text, regions, hits)
        return text if opened else self._unwrapped(text, depth, hits)

    def _unwrapped(self, text: bytes, depth: int, hits: Counter[str]) -> bytes:
        """What stands in it in base64 and hexadecimal is redacted, and written in the same way again."""
        pieces: list[bytes] = []
        at = 0
        for run in wrapped.runs(text):
            if depth == NESTED:
                raise TooDeep(f"base64 or hexadecimal, more than {NESTED} deep")
            content = self._value(run.content, depth + 1, hits)
            if content is not run.content:
                pieces += [text[at : run.start], run.wrap(content)]
                at = run.end
        return b"".join([*pieces, text[at:]]) if pieces else text

    def _may_hit(self, text: bytes, readings: int) -> bool:
        """False: nothing in this text is hit, however often it is decoded. Every value of a document stands in
        one of its readings, between quotes."""
        for _ in range(readings):
            if self._scanner.may_hit(text) or any(map(self._scanner.may_hit, rereadings(text))):
                return True
            contents = wrapped.contents(text)
            if contents and (self._scanner.anchored or self._may_hit(contents, readings - 1)):
                return True
            if b"\\" not in text:
                return False
            text = unescape(text)
        return True

    def _pair(self, raw: str, hits: Counter[str]) -> str:
        if raw.isascii() and self._scanner.unremarkable(raw.encode()):
            return raw
        words: list[str] = []
        plain: list[bytes] = []
        for word in raw.split("=", 1):
            text = _percent_decoded(word.replace("+", " "))
            value = self._value(text, 0, hits)
            words.append(word if value is text else quote_plus(value))
            plain.append(value)
        text = b"=".join(plain)
        whole = self._value(text, 0, hits)
        if whole is not text:
            words = [quote_plus(word) for word in whole.split(b"=", 1)]
        return "=".join(words)


def _disguised(data: bytes, start: int) -> int:
    """Where something begins that reads otherwise when it is decoded."""
    return (DISGUISED.first(data, start) or NOWHERE)[0]


def _percent_decoded(text: str) -> bytes:
    """UTF-8, checked."""
    try:
        decoded = unquote_to_bytes(text)
        decoded.decode()
    except UnicodeError:
        raise Unparsable("percent-encoded bytes that are not UTF-8") from None
    return decoded
