"""Other ways to read a text. What a reader would decode must be found where it stands encoded, so a view
knows for each of its bytes where it came from. Here is what goes character by character: backslash escapes, as
JSON and most languages write them; the zeros of UTF-16; percent encoding and the plus of forms; character references of
HTML and XML; look-alikes. `wrapped` is for what encodes a text as a whole.
"""

import html
import json
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import accumulate, islice
from operator import neg
from typing import NamedTuple

from toolpolicy_sidecar.redact.expression import Expression
from toolpolicy_sidecar.redact.lookalikes import LOOKALIKES, plain
from toolpolicy_sidecar.redact.pieces import Cut, before, before_reference, between_escapes, joined, pieces
from toolpolicy_sidecar.redact.spans import Span

PASSES = 3
"""So often one encoding may stand in another."""
_AT_ONCE = 1024
"""Work on more spans at once would hold up every other thread."""

_ESCAPE = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\u[0-9a-fA-F]{4}"
    rb"|\\x[0-7][0-9a-fA-F]"
    rb'|\\["\\/bfnrt])'
)
_REFERENCE = (
    rb"%[0-9a-fA-F]{2}(?:%[0-9a-fA-F]{2})*|&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});"
)
_ENCODED = re.compile(b"(" + _REFERENCE + b")")
_encoded = Expression(_ENCODED.pattern.decode())  # faster where there is none
_ENCODED_OR_FOREIGN = re.compile(b"(" + _REFERENCE + rb"|[\xc2-\xf4][\x80-\xbf]+)")
_FOREIGN = re.compile(rb"([\x80-\xf4]+)")
_alike = Expression(f"[{LOOKALIKES}]")
_ZEROS = re.compile(rb"(\x00+(?=[^\x00\xff]\x00)|(?<=\x00[^\x00\xff])\x00+)")
"""Beside single characters, as in UTF-16. What stands between whole words, as in lists that end with zeros, stays."""
_FAR_FROM_ZEROS = re.compile(
    rb"(?<=[^\x00]{2})[^\x00\x80-\xbf](?=[^\x00]{2})"
    rb"|(?:(?<=\x00[^\x00\xff]\x00)|(?<=\x00[^\x00\xff]\x00{3}))[^\x00\xff](?=\x00{1,3}[^\x00\xff]\x00)"
)
"""Far from all, or in the midst of such a text: what is seen of each by what stands beside it stays with it."""
_LEAST_NARROW = len(b"\x00\x00\x00a\x00\x00\x00b")
_NO_FORM = re.compile(rb"[\s\"&=\xff]")
_OF_FORM = re.compile(rb"=[^\s\"=&+\xff]*\+[^\s\"=&\xff]*")
_SHORT = {
    b'\\"': b'"',
    b"\\\\": b"\\",
    b"\\/": b"/",
    b"\\b": b"\b",
    b"\\f": b"\f",
    b"\\n": b"\n",
    b"\\r": b"\r",
    b"\\t": b"\t",
}
_lenient = json.JSONDecoder(strict=False)  # control characters may stand in a string as they are

_NO_QUOTE = b"\x01"
"""In the place of a quote, of which a document has so many that to escape them costs more than all else."""

Decoded = Callable[[bytes], bytes]


class Coding(NamedTuple):
    """`pattern`, which is one group as a whole, finds what is decoded, and never goes on beyond a `cut`."""

    pattern: re.Pattern[bytes]
    decoded: Decoded
    cut: Cut


class View:
    """`text`, and the way from its bytes back to those of the source, by the view `of` that it is a view of."""

    def __init__(self, text: bytes, source: bytes, coding: Coding, of: "View | None" = None) -> None:
        self.text = text
        self._source, self._coding, self._of = source, coding, of

    def in_source(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Where they stand in the source. An escape belongs to a span as a whole, with what follows it and nobody
        sees."""
        found = iter(spans)
        while part := [*islice(found, _AT_ONCE)]:
            starts, minus_ends, orders = zip(*part, strict=True)
            begins, stops = self._in_source(starts, map(neg, minus_ends))
            yield from zip(begins, map(neg, stops), orders, strict=True)

    def _in_source(self, starts: Iterable[int], ends: Iterable[int]) -> tuple[list[int], list[int]]:
        at_view, at_source = self._parts
        begins = [
            at_source[part] if part % 2 else at_source[part] + start - at_view[part]
            for start in starts
            for part in (bisect_right(at_view, start) - 1,)
        ]
        stops = [
            at_source[bisect_right(at_view, at_view[part + 1], part) - 1]
            if part % 2
            else at_source[part] + end - at_view[part]
            for end in ends
            for part in (bisect_right(at_view, end - 1) - 1,)
        ]
        return self._of._in_source(begins, stops) if self._of else (begins, stops)  # noqa: SLF001 -- our own

    @cached_property
    def _parts(self) -> "tuple[array[int], array[int]]":
        """Where each begins in the view and in the source, and where the last one ends. Every second one, from the
        first, is the same in both."""
        pattern, decoded, cut = self._coding
        known = _Once(decoded)
        at_view, at_source = (
            array("q", [0]),
            array("q", [0]),
        )  # no objects that somebody would have to go through
        for piece in pieces(self._source, cut):
            parts = pattern.split(piece)
            at_source.extend(islice(accumulate(map(len, parts), initial=at_source[-1]), 1, None))
            parts[1::2] = map(known.__getitem__, parts[1::2])
            at_view.extend(islice(accumulate(map(len, parts), initial=at_view[-1]), 1, None))
            at_source.append(at_source[-1])  # nothing, in the place of the next that is not the same
            at_view.append(at_view[-1])
        return at_view, at_source


def views(text: bytes) -> Iterator[View]:
    """All that differ from the text itself."""
    sources: list[View | None] = [None]
    if b"\\" in text and _ESCAPE.search(text):
        unescaped = View(unescape(text), text, _ESCAPES)
        yield unescaped
        sources.append(unescaped)
    for view in [*sources]:
        source = view.text if view else text
        narrowed = narrow(source)
        if narrowed is not source:
            narrow_view = View(narrowed, source, _NARROWED, view)
            yield narrow_view
            sources.append(narrow_view)
    for view in sources:
        source = view.text if view else text
        for reading in rereadings(source):
            view = View(reading, _with_spaces(source), _REREAD, view)  # noqa: PLW2901 -- of the last
            yield view
            source = reading


def narrow(text: bytes) -> bytes:
    """A text in UTF-16 or UTF-32 that was taken for UTF-8, without the zeros; this very text if it looks like none."""
    if text.find(b"\x00") < 0 or not _ZEROS.search(text):
        return text
    return joined(_ZEROS.sub(b"", piece) for piece in pieces(text, _far_from_zeros))


def _far_from_zeros(text: bytes, start: int, at: int) -> int:
    return before(_FAR_FROM_ZEROS, text, max(at, start + _LEAST_NARROW))


def _nothing(_zeros: bytes) -> bytes:
    return b""


def rereadings(text: bytes) -> Iterator[bytes]:
    """Everything but escapes decoded, once, twice, as long as there is something."""
    for _ in range(PASSES):
        reading = _reread(text)
        if reading == text:
            return
        yield reading
        text = reading


def _reread(text: bytes) -> bytes:
    text = _with_spaces(text)
    if (b"%" in text or b"&" in text) and _encoded.first(text):
        text = _with_each(_REFERENCES, text)
    return text if text.isascii() or not _alike.first(text) else _with_each(_LOOKALIKES, text)


def _with_spaces(text: bytes) -> bytes:
    if b"+" not in text or b"=" not in text:
        return text
    return joined(
        _OF_FORM.sub(lambda match: match[0].replace(b"+", b" "), piece) for piece in pieces(text, _in_no_form)
    )


def _in_no_form(text: bytes, _: int, at: int) -> int:
    return before(_NO_FORM, text, at)


class _Once(dict[bytes, bytes]):
    """The same escape comes again and again: it is decoded once."""

    def __init__(self, decoded: Decoded) -> None:
        super().__init__()
        self._decoded = decoded

    def __missing__(self, escape: bytes) -> bytes:
        found = self[escape] = self._decoded(escape)
        return found


def _with_each(coding: Coding, text: bytes) -> bytes:
    """With each match decoded. A third of what `sub` takes, which calls back for each of them."""
    known = _Once(coding.decoded)

    def with_each(piece: bytes) -> bytes:
        parts = coding.pattern.split(piece)
        parts[1::2] = map(known.__getitem__, parts[1::2])
        return b"".join(parts)

    return joined(map(with_each, pieces(text, coding.cut)))


def _referred(encoded: bytes) -> bytes:
    if encoded.startswith(b"%"):
        return bytes.fromhex(encoded.replace(b"%", b"").decode()).decode(errors="replace").encode()
    return html.unescape(encoded.decode()).encode(errors="replace")


def _plain(foreign: bytes) -> bytes:
    return plain(foreign.decode()).encode()


def _decoded(escape: bytes) -> bytes:
    short = _SHORT.get(escape)
    if short is not None:
        return short
    if escape.startswith(b"\\x"):
        return bytes.fromhex(escape[2:].decode())
    units = bytes.fromhex(escape.replace(b"\\u", b"").decode())
    return units.decode("utf-16-be", errors="replace").encode()


_ESCAPES = Coding(_ESCAPE, _decoded, between_escapes)
_NARROWED = Coding(_ZEROS, _nothing, _far_from_zeros)
_REFERENCES = Coding(_ENCODED, _referred, before_reference)
_LOOKALIKES = Coding(_FOREIGN, _plain, before_reference)
_REREAD = Coding(_ENCODED_OR_FOREIGN, _reread, before_reference)


def unescape(text: bytes) -> bytes:
    """The text of the view of escapes, many times faster, without the way back."""
    return joined(map(_unescaped, pieces(text, between_escapes)))


def _unescaped(text: bytes) -> bytes:
    quotable = text.replace(b"\\\\", b"\\u005c").replace(b'\\"', b"\\u0022")
    stand_in = _NO_QUOTE not in text and b"u0001" not in text
    quotable = quotable.replace(b'"', _NO_QUOTE if stand_in else b"\\u0022")
    try:
        found = str(_lenient.decode(f'"{quotable.decode()}"')).encode()
    except ValueError:  # a backslash that begins no escape, as in C:\\users, or half a surrogate pair
        return _with_each(_ESCAPES, text)
    return found.replace(_NO_QUOTE, b'"') if stand_in else found
