"""Why a hit was one: which detector, how sure, where, and in which reading of the text. Never the value.

This reads a text again in the same ways as the redactor does, and asks each detector by itself: where hits overlap,
and the redactor makes one of them, all are said.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import re2

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import wrapped
from toolpolicy_sidecar.redact.allowed import Allowed
from toolpolicy_sidecar.redact.detectors import chosen
from toolpolicy_sidecar.redact.detectors.detector import Detector, Validator
from toolpolicy_sidecar.redact.document import is_one
from toolpolicy_sidecar.redact.expression import compiled, options
from toolpolicy_sidecar.redact.values import NESTED
from toolpolicy_sidecar.redact.verdict import Unscannable
from toolpolicy_sidecar.redact.views import views

_AS_IT_STANDS = "as it stands"


class Reason(NamedTuple):
    """`path`: JSONPath of the value, `~` behind it for a key; empty in a text. `start`, `end`: bytes of what was
    read, which is the value itself or what it says when decoded."""

    name: str
    confidence: str
    path: str
    start: int
    end: int
    reading: str

    def __str__(self) -> str:
        where = f"{self.path} " if self.path else ""
        return f"{self.name} ({self.confidence}): {where}bytes {self.start}-{self.end}, {self.reading}"


class _Question(NamedTuple):
    name: str
    confidence: str
    expression: re2._Regexp
    validator: Validator | None
    keyed: bool


class Explainer:
    def __init__(self, redaction: snapshot.Redaction) -> None:
        """Raises InvalidPattern, as compiling the redaction does."""
        self._allowed = Allowed(redaction.allow)
        self._fields = bool(redaction.fields)
        self._questions = [
            _Question(
                each.name, "a pattern of the policy", compiled(each.name, each.regex), None, keyed=False
            )
            for each in redaction.patterns
        ] + [_question(each) for each in chosen(redaction.detectors, redaction.min_confidence)]

    def reasons(self, line: bytes, *, is_json: bool) -> list[str]:
        """For a line that was hit, in the order of its values."""
        found = (
            self._of_json(json.loads(line), "$", "") if is_json else self._of_text(_charset(line), b"", "")
        )
        said = list(dict.fromkeys(map(str, found)))
        if self._fields and not said:
            return ["taken out by its place (fields)"]
        return said or ["with the lines below it, or with what other hits left; by itself it is none"]

    def _of_json(
        self, value: Any, path: str, key: str, reading: str = "", depth: int = 0
    ) -> Iterator[Reason]:
        if isinstance(value, dict):
            name_member = value.get("name", value.get("key"))
            for name, member in value.items():
                in_key = list(self._of_text(_bytes(name), b"", f"a key of {path}", reading, depth))
                yield from in_key
                below = (
                    f"{path}.*"
                    if in_key
                    else f"{path}.{name}"
                    if name.isidentifier()
                    else f"{path}[{name!r}]"
                )
                telling = name_member if name.lower() == "value" and isinstance(name_member, str) else name
                yield from self._of_json(member, below, telling, reading, depth)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from self._of_json(item, f"{path}[{index}]", "", reading, depth)
        elif isinstance(value, str):
            yield from self._of_text(_bytes(value), _bytes(key), path, reading, depth)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from self._of_text(_bytes(json.dumps(value)), _bytes(key), path, reading, depth)

    def _of_text(
        self, text: bytes, key: bytes, path: str, reading: str = "", depth: int = 0
    ) -> Iterator[Reason]:
        if depth < NESTED and _opens(text):
            yield from self._of_json(
                json.loads(text), path + "$", "", _deeper(reading, "JSON in a string"), depth + 1
            )
        yield from self._hits(text, path, reading)
        if key:
            before = len(key) + 2
            joined = b'%b="%b"' % (key, text.replace(b'"', b"^").replace(b"\\", b"^"))
            for hit in self._hits(joined, path, _deeper(reading, "beside its key"), keyed=True):
                if hit.start >= before:
                    yield hit._replace(start=hit.start - before, end=min(hit.end - before, len(text)))
        for view in views(text):
            yield from self._hits(
                view.text, path, _deeper(reading, "decoded (escapes, percent, look-alikes)")
            )
        if depth < NESTED:
            for run in wrapped.runs(text):
                yield from self._of_text(
                    run.content, b"", path, _deeper(reading, "in base64 or hex"), depth + 1
                )

    def _hits(self, text: bytes, path: str, reading: str, *, keyed: bool = False) -> Iterator[Reason]:
        for question in self._questions:
            if keyed and not question.keyed:
                continue
            for match in question.expression.finditer(text):
                start, end = match.span(match.lastindex or 0)
                if start == end:
                    continue
                spans = question.validator(text, start, end) if question.validator else ((start, end),)
                for begin, stop in spans:
                    if text[begin:stop] not in self._allowed:
                        yield Reason(
                            question.name, question.confidence, path, begin, stop, reading or _AS_IT_STANDS
                        )


def _question(detector: Detector) -> _Question:
    expression = re2.compile(detector.expression, options(captures=True))
    return _Question(detector.name, detector.confidence, expression, detector.validator, detector.keyed)


def _deeper(reading: str, more: str) -> str:
    return f"{reading}, {more}" if reading else more


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _charset(line: bytes) -> bytes:
    """As UTF-8, which is what the redactor reads."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1").encode()
    return line


def _opens(text: bytes) -> bool:
    try:
        return is_one(text)
    except Unscannable:
        return False
