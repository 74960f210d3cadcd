"""Values that a policy names by their place in a JSON document, whatever is in them.

The document is read once, as text; what is replaced or dropped is cut out of it, and everything else stays byte
for byte. Of rules that name the same value the first one holds; what is inside of a value that goes, goes with it.
"""

import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_api.jsonpath import Path, Segment, parse
from toolpolicy_sidecar.redact import document
from toolpolicy_sidecar.redact.placeholder import FIELD, Placeholders, mask
from toolpolicy_sidecar.redact.verdict import Blocked, InvalidPattern

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]|[^\s\[\]{},:"]++', re.DOTALL)
_MASKED = document.string_token(mask(FIELD))
_STRUCTURED = (Segment("structuredContent"),)
_TEXTS = tuple(
    parse(path) for path in ("$.content[*].text", "$.content[*].resource.text", "$.contents[*].text")
)
"""Where the results of MCP hold documents as texts."""

_States = tuple[tuple[int, int], ...]


class Found(NamedTuple):
    """`rule`: the first that names it. `gone`: what to cut for the value to be gone, and the document to be one."""

    rule: int
    start: int
    end: int
    gone: tuple[int, int]


class Fields:
    def __init__(self, rules: Sequence[snapshot.FieldRule], placeholders: Placeholders) -> None:
        """Raises InvalidPattern."""
        self._placeholders = placeholders
        self._actions = [rule.action for rule in rules]
        self._dropping = frozenset(index for index, rule in enumerate(rules) if rule.action == "Drop")
        self._paths = [_parsed(rule.path, f"fields[{index}]") for index, rule in enumerate(rules)]
        self._in_result = [_STRUCTURED + path for path in self._paths]
        self._names = _names(self._paths)

    def __bool__(self) -> bool:
        return bool(self._paths)

    def redact(self, data: bytes, hits: Counter[str]) -> bytes:
        """A valid document; this very one if no field is in it. Raises Blocked."""
        return self._redact(data, self._paths, hits)

    def redact_result(self, data: bytes, hits: Counter[str]) -> bytes:
        """The result of an MCP tool: its structured content, and every text that is a document. Raises Blocked."""
        if not self._may_be_in(data):
            return data
        data = self._redact(data, self._in_result, hits)
        pieces: list[bytes] = []
        at = 0
        for found in find(data, _TEXTS):
            token = data[found.start : found.end]
            text = document.string_value(token) if token.startswith(b'"') else b""
            if document.is_one(text):
                left = self._redact(text, self._paths, hits)
                if left is not text:
                    pieces += [data[at : found.start], document.string_token(left)]
                    at = found.end
        return b"".join([*pieces, data[at:]]) if pieces else data

    def values(self, data: bytes) -> frozenset[bytes]:
        """What is in the fields: strings decoded, everything else as it is written."""
        if not self._may_be_in(data):
            return frozenset()
        return frozenset(_value(data[found.start : found.end]) for found in find(data, self._paths))

    def _may_be_in(self, data: bytes) -> bool:
        return self._names is None or b"\\" in data or any(name in data for name in self._names)

    def _redact(self, data: bytes, paths: Sequence[Path], hits: Counter[str]) -> bytes:
        if not self._may_be_in(data):
            return data
        pieces: list[bytes] = []
        at = 0
        for found in find(data, paths, self._dropping):
            if found.start < at:
                continue
            start, end, put = found.start, found.end, b""
            token = data[start:end]
            match self._actions[found.rule]:
                case "Block":
                    raise Blocked({FIELD: 1})
                case "Drop":
                    start, end = found.gone
                case "Mask":
                    put = _MASKED
                case "Hash":
                    put = token if self._is_placeholder(token) else self._hashed(token)
            if put != token:
                hits[FIELD] += 1
                pieces += [data[at:start], put]
                at = end
        return b"".join([*pieces, data[at:]]) if pieces else data

    def _is_placeholder(self, token: bytes) -> bool:
        if not token.startswith(b'"'):
            return False
        text = _value(token)
        return [*self._placeholders.spans(text)] == [(0, len(text))]

    def _hashed(self, token: bytes) -> bytes:
        return document.string_token(self._placeholders.keyed(FIELD, _value(token)))


class _Frame:
    """An object or a list that is being read."""

    __slots__ = ("ends", "found", "index", "is_object", "key", "starts", "states")

    def __init__(self, states: _States, *, is_object: bool) -> None:
        self.states, self.is_object = states, is_object
        self.key: str | None = None
        self.index = -1
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.found: list[tuple[int, int, int]] = []
        """Child, rule, start of the value."""


def find(data: bytes, paths: Sequence[Path], dropping: Container[int] = ()) -> list[Found]:
    """In order; a value before what is in it. `data` is a valid document, `dropping` the rules by which values go."""
    found: list[Found] = []
    stack: list[_Frame] = []
    root: _States = tuple((rule, 0) for rule in range(len(paths)))
    steps: dict[tuple[_States, str | int], tuple[_States, int | None]] = {}
    for match in _TOKEN.finditer(data):
        token, start = match.group(), match.start()
        frame = stack[-1] if stack else None
        if token == b",":
            continue
        if token in {b"}", b"]"}:
            closed = stack.pop()
            found += _of(closed, dropping)
            if stack:
                stack[-1].ends.append(match.end())
            continue
        states = root
        if frame is not None:
            if frame.is_object and frame.key is None:
                frame.key = document.string_value(token).decode()
                frame.starts.append(start)
                continue
            if not frame.is_object:
                frame.starts.append(start)
            frame.index += 1
            selector = frame.index if frame.key is None else frame.key
            frame.key = None
            step = (frame.states, selector)
            if step not in steps:
                steps[step] = _step(paths, *step)
            states, rule = steps[step]
            if rule is not None:
                frame.found.append((frame.index, rule, start))
        if token in {b"{", b"["}:
            stack.append(_Frame(states, is_object=token == b"{"))
        elif frame is not None:
            frame.ends.append(match.end())
    return sorted(found, key=lambda one: (one.start, -one.end))


def _step(paths: Sequence[Path], states: _States, selector: str | int) -> tuple[_States, int | None]:
    """From a value to its child: where the paths are then, and which one ends there."""
    reached: dict[tuple[int, int], None] = {}
    ends: int | None = None
    for rule, position in states:
        if position == len(paths[rule]):
            continue
        segment = paths[rule][position]
        if segment.anywhere:
            reached[rule, position] = None
        if segment.selector is None or (
            type(segment.selector) is type(selector) and segment.selector == selector
        ):
            reached[rule, position + 1] = None
            if position + 1 == len(paths[rule]):
                ends = rule if ends is None else min(ends, rule)
    return tuple(reached), ends


def _of(frame: _Frame, dropping: Container[int]) -> Iterator[Found]:
    """What was found in it. To be gone, a child takes a comma with it: the one before, if anything stays before."""
    if not frame.found:
        return
    dropped = {child for child, rule, _ in frame.found if rule in dropping}
    kept = next((child for child in range(len(frame.ends)) if child not in dropped), len(frame.ends))
    for child, rule, start in frame.found:
        end = frame.ends[child]
        if child > kept:
            gone = (frame.ends[child - 1], end)
        elif child + 1 < len(frame.starts):
            gone = (frame.starts[child], frame.starts[child + 1])
        else:
            gone = (frame.starts[child], end)
        yield Found(rule, start, end, gone)


def _names(paths: Sequence[Path]) -> list[bytes] | None:
    """One for each path, without which it leads nowhere, as JSON writes it. None: some path has none."""
    names: list[bytes] = []
    for path in paths:
        name = next((s.selector for s in reversed(path) if isinstance(s.selector, str)), None)
        if name is None:
            return None
        names.append(msgspec.json.encode(name)[1:-1])
    return names


def _value(token: bytes) -> bytes:
    return document.string_value(token) if token.startswith(b'"') else token


def _parsed(path: str, name: str) -> Path:
    try:
        return parse(path)
    except ValueError as error:
        raise InvalidPattern(name, str(error)) from None
