"""A policy's redaction, compiled: texts, JSON, query strings, paths and forms."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import msgspec
import re2

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.detectors import DETECTORS

NESTED = 3
"""JSON inside a JSON string is opened this deep."""

T = TypeVar("T", str, bytes)

# A string literal, or a number long enough to be a card. The alternatives cannot both match: linear.
_TOKEN = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\.)*"|-?[0-9][0-9.eE+-]{11,}')


class Redacted(NamedTuple, Generic[T]):
    """`hits`: detector or pattern → how many. Empty: `value` is what came in."""

    value: T
    hits: Mapping[str, int]


class InvalidPattern(ValueError):  # noqa: N818 -- a verdict on input
    def __init__(self, name: str, error: str) -> None:
        super().__init__(f"pattern {name!r}: {error}")
        self.name = name


class Unscannable(ValueError):  # noqa: N818 -- a verdict on input
    """What cannot be read cannot be vouched for. The message says why, without the content."""


class _Rule(NamedTuple):
    name: str
    expression: re2._Regexp
    replacement: str
    check: Callable[[str], bool] | None


class Redactor:
    def __init__(self, rules: list[_Rule], redaction: snapshot.Redaction) -> None:
        self._rules = rules
        self.on_request = redaction.apply in {"Request", "Both"}
        self.on_response = redaction.apply in {"Response", "Both"}
        self.on_unscannable = redaction.on_unscannable

    @classmethod
    def compile(cls, redaction: snapshot.Redaction) -> "Redactor":
        """Raises InvalidPattern."""
        options = re2.Options()
        options.log_errors = False
        rules = []
        for pattern in redaction.patterns:
            try:
                rules.append(_Rule(pattern.name, re2.compile(pattern.regex, options), pattern.replace, None))
            except re2.error as error:
                raise InvalidPattern(pattern.name, str(error)) from None
        for name in redaction.detectors:
            detector = DETECTORS.get(name)
            if detector is None:
                raise InvalidPattern(name, "this sidecar has no such detector")
            rules.append(
                _Rule(name, re2.compile(detector.regex, options), f"[redacted:{name}]", detector.check)
            )
        return cls(rules, redaction)

    def text(self, text: str) -> Redacted[str]:
        """Leftmost first; of two that begin together the longer, then the policy's order. Raises Unscannable."""
        spans: list[tuple[int, int, int]] = []
        try:
            for order, rule in enumerate(self._rules):
                for match in rule.expression.finditer(text):
                    start, end = match.span()
                    if end > start and (rule.check is None or rule.check(match.group())):
                        spans.append((start, -end, order))
        except UnicodeEncodeError:
            raise Unscannable("a lone surrogate") from None
        if not spans:
            return Redacted(text, {})
        spans.sort()
        pieces, hits, at = [], Counter[str](), 0
        for start, minus_end, order in spans:
            if start < at:
                continue
            rule = self._rules[order]
            pieces += [text[at:start], rule.replacement]
            hits[rule.name] += 1
            at = -minus_end
        pieces.append(text[at:])
        return Redacted("".join(pieces), hits)

    def json(self, data: bytes) -> Redacted[bytes]:
        """Every string value, key and long number of a JSON document. Raises Unscannable."""
        try:
            msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Unscannable("malformed JSON") from None
        except RecursionError:
            raise Unscannable("JSON nested too deep") from None
        return self._json(data, NESTED)

    def _json(self, data: bytes, nested: int) -> Redacted[bytes]:
        pieces: list[bytes] = []
        hits = Counter[str]()
        at = 0
        for match in _TOKEN.finditer(data):
            token = match.group()
            is_text = token[:1] == b'"'
            if not is_text:
                text = token.decode()
            elif b"\\" in token:
                text = json.loads(token)
            else:
                text = token[1:-1].decode()
            found = self._value(text, nested) if is_text else self.text(text)
            if found.hits:
                hits.update(found.hits)
                pieces += [data[at : match.start()], json.dumps(found.value, ensure_ascii=False).encode()]
                at = match.end()
        if not hits:
            return Redacted(data, {})
        pieces.append(data[at:])
        return Redacted(b"".join(pieces), hits)

    def _value(self, text: str, nested: int) -> Redacted[str]:
        """A string that is itself JSON is opened: escapes would hide what is in it."""
        if nested and text[:1] in {"{", "["} and "\\" in text:
            try:
                inner = text.encode()
                msgspec.json.decode(inner)
            except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
                return self.text(text)
            opened = self._json(inner, nested - 1)
            if opened.hits:
                return Redacted(opened.value.decode(), opened.hits)
        return self.text(text)

    def query(self, raw: str) -> Redacted[str]:
        """`a=b&c=d` as sent; only what is hit is encoded anew."""
        return self._parts(raw, "&", "=", unquote_plus, quote_plus)

    def form(self, data: bytes) -> Redacted[bytes]:
        try:
            found = self.query(data.decode("ascii"))
        except UnicodeDecodeError:
            raise Unscannable("a form with bytes that are not ASCII") from None
        return Redacted(found.value.encode(), found.hits)

    def path(self, raw: str) -> Redacted[str]:
        """Segment by segment."""
        return self._parts(raw, "/", "\0", unquote, lambda text: quote(text, safe=""))

    def _parts(
        self, raw: str, outer: str, inner: str, decode: Callable[..., str], encode: Callable[[str], str]
    ) -> Redacted[str]:
        hits = Counter[str]()
        parts = []
        for part in raw.split(outer):
            words = []
            for word in part.split(inner):
                try:
                    found = self.text(decode(word, errors="strict"))
                except UnicodeDecodeError:
                    raise Unscannable("percent-encoded bytes that are not UTF-8") from None
                hits.update(found.hits)
                words.append(encode(found.value) if found.hits else word)
            parts.append(inner.join(words))
        return Redacted(outer.join(parts) if hits else raw, hits)
