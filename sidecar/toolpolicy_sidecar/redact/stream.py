"""Texts that come in pieces. What is found must not depend on where they are cut, so the end of what has come is held
back: a hit may begin in it. A text is cut where that changes nothing: both sides, redacted alone, are what the
whole is.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from toolpolicy_sidecar.mcp import sse
from toolpolicy_sidecar.redact import document
from toolpolicy_sidecar.redact.event import beside
from toolpolicy_sidecar.redact.redactor import Redacted, Redactor, Unscannable
from toolpolicy_sidecar.redact.verdict import TooLarge, Unparsable

HELD_BYTES = 256
"""So much must have come after a cut. What is longer than that and a hit only as a whole has no white space in it, or
begins like one (a private key)."""
HELD_S = 1.0
"""So long a silence ends the wait for more: a text may be complete, and its reader wait for it."""

_NAMES = frozenset(
    b"answer arguments chunk completion content delta input_json message output partial partial_json reasoning"
    b" reasoning_content response text thinking token".split()
)
"""Members under which tools and models send a text piece by piece."""
_PLACES = frozenset({b"index", b"output_index", b"content_index", b"item_id", b"choice"})
"""Members that say which of several texts a piece belongs to."""

_COLON = re.compile(rb"[ \t\r\n]*+:")
_SPACE = re.compile(rb"\s")
_WORDS = re.compile(rb"\s(?=\S)")
_TRIES = 6
_DONE_BYTES = 4 * HELD_BYTES
"""So much of other texts must have come for one to be taken as complete."""


class TextStream:
    """A text of UTF-8. Raises Unscannable and Blocked as the redactor does; also when more than `limit_bytes` would
    have to be held."""

    def __init__(self, redactor: Redactor, limit_bytes: int) -> None:
        self._redactor, self._limit_bytes = redactor, limit_bytes
        self._held = b""
        self._tried_bytes = 0

    @property
    def holds(self) -> bool:
        return bool(self._held)

    @property
    def held_bytes(self) -> int:
        return len(self._held)

    def feed(self, piece: bytes) -> Redacted[bytes]:
        """What may go on now."""
        self._held += piece
        size = len(self._held)
        if size < HELD_BYTES or size - self._tried_bytes < self._tried_bytes >> 3:
            return Redacted(b"", {})
        text = _whole_characters(self._held)
        cut = _cut(self._redactor, text, _candidates(text))
        if not cut:
            self._tried_bytes = size
            if size > self._limit_bytes:
                raise TooLarge(f"text of over {self._limit_bytes} bytes with no place to cut it")
            return Redacted(b"", {})
        self._tried_bytes = 0
        found = _redacted(self._redactor, self._held[:cut])
        self._held = self._held[cut:]
        return found

    def pause(self) -> Redacted[bytes]:
        """The rest, for no more comes for a while; not half a character."""
        ready = _whole_characters(self._held)
        found = _redacted(self._redactor, ready)
        self._held = self._held[len(ready) :]
        self._tried_bytes = 0
        return found

    def end(self) -> Redacted[bytes]:
        """The rest, for no more comes."""
        found = _redacted(self._redactor, self._held)
        self._held = b""
        return found

    def given_up(self) -> bytes:
        """All that is held, as it came."""
        held, self._held = self._held, b""
        return held


class _Part(NamedTuple):
    """A piece of a text in an event: `start:end` is its token in the event's data; of data that is no JSON, all."""

    text: bytes
    start: int
    end: int


class _Held(NamedTuple):
    event: sse.Event
    parts: dict[tuple[object, ...], _Part]


class EventStream:
    """Server-sent events. Each goes on with its own text, in order, only later: a hit that reaches over several stands
    in the first of them. `redact` is for the data of an event by itself."""

    def __init__(
        self, redactor: Redactor, redact: Callable[[bytes], Redacted[bytes]], limit_bytes: int
    ) -> None:
        self._redactor, self._redact, self._limit_bytes = redactor, redact, limit_bytes
        self._queue: list[_Held] = []
        self.held_bytes = self._tried_bytes = 0

    @property
    def holds(self) -> bool:
        return bool(self._queue)

    def feed(self, event: sse.Event) -> Redacted[bytes]:
        """What may go on now: whole events."""
        parts = _parts(event.data) if event.data else {}
        self._queue.append(_Held(event, parts))
        self.held_bytes += len(event.raw)
        if not parts and len(self._queue) == 1:
            return self._go(1)
        if self.held_bytes - self._tried_bytes < self._tried_bytes >> 3:
            return Redacted(b"", {})
        count = self._ready()
        if not count:
            self._tried_bytes = self.held_bytes
            if self.held_bytes > self._limit_bytes:
                raise TooLarge(f"events of over {self._limit_bytes} bytes with no place to cut their text")
            return Redacted(b"", {})
        return self._go(count)

    def pause(self) -> Redacted[bytes]:
        """The rest, for no more comes for a while."""
        return self._go(len(self._queue))

    end = pause

    def given_up(self) -> bytes:
        """All that is held, as it came."""
        held, self._queue, self.held_bytes = self._queue, [], 0
        return b"".join(each.event.raw for each in held)

    def _go(self, count: int) -> Redacted[bytes]:
        ready = self._queue[:count]
        found = self._out(ready)
        self._queue = self._queue[count:]
        self.held_bytes -= sum(len(held.event.raw) for held in ready)
        self._tried_bytes = 0
        return found

    def _ready(self) -> int:
        """How many events at the front may go: after each text in them enough has come."""
        count = len(self._queue)
        for key in {key for held in self._queue for key in held.parts}:
            texts = [held.parts[key].text if key in held.parts else b"" for held in self._queue]
            ends = _ends(texts)
            whole = b"".join(texts)
            cuts = dict(
                zip(ends, range(1, len(ends) + 1), strict=True)
            )  # of events that end together the last
            words = [at for at in ends if 0 < at <= len(whole) - HELD_BYTES and _SPACE.search(whole, at)]
            cut = _cut(self._redactor, whole, words[::-1][:: 1 + len(words) // _TRIES])
            first = next((index for index, text in enumerate(texts) if text), 0)
            last = max(index for index, held in enumerate(self._queue) if key in held.parts)
            if sum(len(held.event.raw) for held in self._queue[last + 1 :]) >= _DONE_BYTES:
                continue
            count = min(count, cuts[cut] if cut else first)
        return count

    def _out(self, ready: Sequence[_Held]) -> Redacted[bytes]:
        hits = Counter[str]()
        changed: list[dict[tuple[object, ...], bytes]] = [{} for _ in ready]
        for key in {key for held in ready for key in held.parts}:
            texts = [held.parts[key].text if key in held.parts else b"" for held in ready]
            for index, text in enumerate(_spread(self._redactor, texts, hits)):
                if text is not texts[index]:
                    changed[index][key] = text
        out: list[bytes] = []
        for held, texts_of in zip(ready, changed, strict=True):
            raw, data = held.event.raw, held.event.data
            if data:
                found = self._redact(_with(data, held.parts, texts_of))
                hits.update(found.hits)
                raw = raw if found.value == data else sse.replaced(held.event, found.value)
            whole = beside(self._redactor, held.event, raw)
            hits.update(whole.hits)
            out.append(whole.value)
        return Redacted(b"".join(out), hits)


def _cut(redactor: Redactor, text: bytes, candidates: Sequence[int]) -> int:
    """The first of these places that is neutral; 0: none is."""
    if not candidates:
        return 0
    whole = _redacted(redactor, text).value
    return next((at for at in candidates if _neutral(redactor, text, at, whole)), 0)


def _neutral(redactor: Redactor, text: bytes, at: int, whole: bytes) -> bool:
    return _redacted(redactor, text[:at]).value + _redacted(redactor, text[at:]).value == whole


def _candidates(text: bytes) -> list[int]:
    """Between words, the last first, then farther and farther before it."""
    found: list[int] = []
    words = [match.end() for match in _WORDS.finditer(text, 0, max(0, len(text) - HELD_BYTES + 1))]
    step = 1
    while words and len(found) < _TRIES:
        found.append(words[-1])
        words = words[:-step]
        step *= 4
    return found


def _spread(redactor: Redactor, texts: Sequence[bytes], hits: Counter[str]) -> list[bytes]:
    """The pieces of one text, redacted as one: each keeps what is its own, a hit over several goes to the first."""
    whole = b"".join(texts)
    found = _redacted(redactor, whole)
    if not found.hits:
        return list(texts)
    hits.update(found.hits)
    same = _same(whole, found.value)
    same_after = _same(whole[same:][::-1], found.value[same:][::-1])
    out = list(texts)
    ends = _ends(texts)
    first = next(index for index, end in enumerate(ends) if end > same or end == len(whole))
    last = next(index for index, end in enumerate(ends) if end >= len(whole) - same_after)
    begin = ends[first] - len(texts[first])
    after = len(whole) - ends[max(first, last)]
    text = found.value[begin : len(found.value) - after]
    out[first : last + 1] = [text] + [b""] * (last - first)
    return out


def _same(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _ends(texts: Sequence[bytes]) -> list[int]:
    ends, at = [], 0
    for text in texts:
        at += len(text)
        ends.append(at)
    return ends


def _redacted(redactor: Redactor, text: bytes) -> Redacted[bytes]:
    try:
        found = redactor.text(text.decode())
    except UnicodeDecodeError:
        raise Unparsable("text that is not UTF-8") from None
    return Redacted(found.value.encode() if found.hits else text, found.hits)


def _whole_characters(text: bytes) -> bytes:
    """Without the beginning of a character at its end."""
    for back in range(1, min(4, len(text)) + 1):
        byte = text[-back]
        if byte >= 0xC0:
            missing = (1 + (byte >= 0xE0) + (byte >= 0xF0)) >= back
            return text[:-back] if missing else text
        if byte < 0x80:
            break
    return text


def _parts(data: bytes) -> dict[tuple[object, ...], _Part]:
    """Pieces of texts, by what tells the texts apart."""
    if not document.looks_like_one(data):
        return {(): _Part(data, 0, len(data))}
    try:
        document.check(data)
    except Unscannable:
        return {(): _Part(data, 0, len(data))}
    found: list[tuple[bytes, _Part]] = []
    places: list[bytes] = []
    name = b""
    for match in document.TOKEN.finditer(data):
        token = match.group()
        if _COLON.match(data, match.end()):
            name = token[1:-1]
            continue
        if name in _NAMES and token[:1] == b'"':
            found.append((name, _Part(document.string_value(token), *match.span())))
        elif name in _PLACES:
            places.append(token)
        name = b""
    return {(name, index, *places): part for index, (name, part) in enumerate(found)}


def _with(
    data: bytes, parts: dict[tuple[object, ...], _Part], texts: dict[tuple[object, ...], bytes]
) -> bytes:
    """The data with other texts in the places of these parts."""
    pieces: list[bytes] = []
    at = 0
    for key, part in parts.items():
        if key in texts:
            token = document.string_token(texts[key]) if key else texts[key]
            pieces += [data[at : part.start], token]
            at = part.end
    return b"".join([*pieces, data[at:]]) if pieces else data
