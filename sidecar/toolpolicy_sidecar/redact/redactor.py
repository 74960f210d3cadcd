"""A policy's redaction, compiled: texts, JSON, forms, query strings and paths."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from urllib.parse import quote, quote_plus, unquote_to_bytes

import re2

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import document, wrapped
from toolpolicy_sidecar.redact.fields import Fields
from toolpolicy_sidecar.redact.placeholder import mask
from toolpolicy_sidecar.redact.scanner import DISGUISE, Scanner
from toolpolicy_sidecar.redact.verdict import Blocked, InvalidPattern, Redacted, T, Unscannable
from toolpolicy_sidecar.redact.views import rereadings, unescape

__all__ = ["NESTED", "Blocked", "InvalidPattern", "Redacted", "Redactor", "Unscannable"]

NESTED = 3
"""JSON in a JSON string, base64 and hexadecimal are opened this deep. Deeper, with more of it left that could hide
something, it is Unscannable."""

_DISGUISE = re2.compile(DISGUISE)
_PASSES = 4
_NO_HITS: Mapping[str, int] = {}
_NOWHERE = (sys.maxsize, sys.maxsize)


class Redactor:
    """Every method raises Unscannable for what cannot be read, and Blocked when the policy's action is Block and
    something is hit."""

    def __init__(self, scanner: Scanner, redaction: snapshot.Redaction) -> None:
        self._scanner = scanner
        self.on_request = redaction.apply in {"Request", "Both"}
        self.on_response = redaction.apply in {"Response", "Both"}
        self.on_unscannable = redaction.on_unscannable
        self._blocks = redaction.action == "Block"
        self._fields = Fields(redaction.fields, scanner.placeholders)

    @classmethod
    def compile(cls, redaction: snapshot.Redaction, key: bytes = b"") -> "Redactor":
        """`key`: the secret behind the placeholders of the action Hash. Raises InvalidPattern."""
        return cls(Scanner.compile(redaction, key), redaction)

    def _verdict(self, raw: T, value: T, hits: Counter[str]) -> Redacted[T]:
        if hits and self._blocks:
            raise Blocked(hits)
        return Redacted(value if hits else raw, hits)

    def unremarkable(self, message: bytes) -> bool:
        """True: whatever part of this JSON is looked at, it can be read, and nothing is to be taken out of it."""
        return not self._fields and self._scanner.unremarkable(message) and not document.too_deep(message)

    def text(self, text: str) -> Redacted[str]:
        """A text of any kind; one that is a JSON document is opened."""
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise Unscannable("text with half a surrogate pair") from None
        hits: Counter[str] = Counter()
        value = self._value(data, 0, hits)
        return self._verdict(text, value.decode(), hits)

    def json(self, data: bytes) -> Redacted[bytes]:
        """Every string, key and number of a JSON document."""
        document.check(data)
        if self._scanner.unremarkable(data):
            return Redacted(data, _NO_HITS)
        hits: Counter[str] = Counter()
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
        hits: Counter[str] = Counter()
        left = redact(data, hits)
        found = (rest or self.json)(left)
        return Redacted(found.value, hits + Counter(found.hits)) if hits else found

    def query(self, raw: str) -> Redacted[str]:
        """`a=b&c=d` as sent: each name, each value, and both together."""
        hits: Counter[str] = Counter()
        value = "&".join([self._pair(pair, hits) for pair in raw.split("&")])
        return self._verdict(raw, value, hits)

    def form(self, data: bytes) -> Redacted[bytes]:
        """The same as a body."""
        try:
            found = self.query(data.decode())
        except UnicodeDecodeError:
            raise Unscannable("a form that is not UTF-8") from None
        return Redacted(found.value.encode() if found.hits else data, found.hits)

    def path(self, raw: str) -> Redacted[str]:
        """Each segment, then the path as a whole. Raises Unscannable, also when a redacted path would
        lead elsewhere."""
        if raw.isascii() and self._scanner.unremarkable(raw.encode()):
            return Redacted(raw, _NO_HITS)
        hits: Counter[str] = Counter()
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
        disguise = _disguised(data, 0)
        plain = disguise == sys.maxsize and data.isascii()
        if not plain and not self._scanner.anchored and not self._may_hit(data, NESTED + 2 - depth):
            return data
        suspects = self._scanner.suspects(data)
        begin, end = next(suspects, _NOWHERE)
        pieces: list[bytes] = []
        at = 0
        key, value_at = b"", -1
        first = document.token_at(data, begin) if plain and not self._scanner.keyed else 0
        for match in document.TOKEN.finditer(data, first):
            start, stop = match.span()
            if plain and begin == sys.maxsize and start != value_at:
                break
            if begin >= stop and disguise >= stop and start != value_at:
                continue
            while end <= start:
                begin, end = next(suspects, _NOWHERE)
            if disguise < start:
                disguise = _disguised(data, start)
            if start != value_at:
                if begin >= stop and disguise >= stop:
                    continue
                key = b""
            token = match.group()
            if token[:1] == b'"':
                text = document.string_value(token)
                if plain and not key and not document.looks_like_one(text):
                    value = self._plain_value(text, depth, hits)
                else:
                    value = self._value(text, depth, hits, key)
                named = document.NAMED.match(data, stop) if self._scanner.keyed else None
                key, value_at = (text, named.end()) if named else (b"", -1)
            else:
                text = token
                value = self._number(token, hits, key)
            if value is not text:
                pieces += [data[at:start], document.string_token(value)]
                at = stop
        if not pieces:
            return data
        pieces.append(data[at:])
        return b"".join(pieces)

    def _plain_value(self, text: bytes, depth: int, hits: Counter[str]) -> bytes:
        """A text that can be read in one way only, and is no document."""
        found: Counter[str] = Counter()
        left = self._scanner.redact(text, found, plain=True)
        if left is text:
            return text
        hits.update(found)
        return left if self._scanner.unremarkable(left) else self._value(left, depth, hits)

    def _number(self, token: bytes, hits: Counter[str], key: bytes) -> bytes:
        untouched = self._scanner.redact(token, Counter(), key) is token
        value = token if untouched else self._value(token, 0, hits, key)
        written_out = document.written_out(token) if value is token else None
        if written_out is not None:
            found = self._value(written_out, 0, hits)
            return token if found is written_out else found
        return value

    def _value(self, text: bytes, depth: int, hits: Counter[str], key: bytes = b"") -> bytes:
        """One text: opened if it is JSON, then scanned as it is, and with its key. Again until nothing is hit,
        since what is left may come together anew; a text that never comes to rest is masked whole."""
        name = ""
        for _ in range(_PASSES):
            structured = self._scanner.anchored and document.looks_like_one(text)
            if not structured and not key and not self._may_hit(text, NESTED + 1 - depth):
                return text
            found: Counter[str] = Counter()
            left = self._scanner.redact(self._opened(text, depth, found), found, key)
            left = self._unwrapped(left, depth, found)
            if left is text:
                return text
            hits.update(found)
            text, name = left, next(iter(found))
        hits[name] += 1
        return mask(name)

    def _opened(self, text: bytes, depth: int, hits: Counter[str]) -> bytes:
        if not document.is_one(text):
            return text
        if depth < NESTED:
            return self._document(text, depth + 1, hits)
        if b"\\" in text:
            raise Unscannable(f"JSON in strings of JSON, more than {NESTED} deep")
        return text

    def _unwrapped(self, text: bytes, depth: int, hits: Counter[str]) -> bytes:
        """What stands in it in base64 and hexadecimal is redacted, and written in the same way again."""
        pieces: list[bytes] = []
        at = 0
        for run in wrapped.runs(text):
            if depth == NESTED:
                raise Unscannable(f"base64 or hexadecimal, more than {NESTED} deep")
            content = self._value(run.content, depth + 1, hits)
            if content is not run.content:
                pieces += [text[at : run.start], run.wrap(content)]
                at = run.end
        return b"".join([*pieces, text[at:]]) if pieces else text

    def _may_hit(self, text: bytes, readings: int) -> bool:
        """False: nothing in this text is hit, however often it is decoded. Every value of a document stands in
        one of its readings, between quotes."""
        if self._scanner.unremarkable(text):
            return False
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
    match = _DISGUISE.search(data, start)
    return match.start() if match else sys.maxsize


def _percent_decoded(text: str) -> bytes:
    """UTF-8, checked."""
    try:
        decoded = unquote_to_bytes(text)
        decoded.decode()
    except UnicodeError:
        raise Unscannable("percent-encoded bytes that are not UTF-8") from None
    return decoded
