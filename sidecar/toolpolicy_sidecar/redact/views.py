"""Other ways to read a text. What a reader would decode must be found where it stands encoded, so a view
knows for each of its bytes where it came from. Here: backslash escapes, as JSON and most languages write
them. Percent, base64, entities and look-alikes would be further views.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\u[0-9a-fA-F]{4}"
    rb'|\\["\\/bfnrt]'
)
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


class View:
    """`text`, and the way from its bytes back to those of the source."""

    def __init__(self, text: bytes, at_view: list[int], at_source: list[int], verbatim: list[bool]) -> None:
        self.text = text
        self._at_view, self._at_source, self._verbatim = at_view, at_source, verbatim

    def source_span(self, start: int, end: int) -> tuple[int, int]:
        """An escape belongs to a span as a whole."""
        return self._source(start)[0], self._source(end - 1)[1]

    def _source(self, position: int) -> tuple[int, int]:
        part = bisect_right(self._at_view, position) - 1
        if self._verbatim[part]:
            at = self._at_source[part] + position - self._at_view[part]
            return at, at + 1
        return self._at_source[part], self._at_source[part + 1]


def views(text: bytes) -> Iterator[View]:
    """All that differ from the text itself."""
    if b"\\" in text and _ESCAPE.search(text):
        yield _unescaped(text)


def _unescaped(text: bytes) -> View:
    edges = [0, *(edge for match in _ESCAPE.finditer(text) for edge in match.span()), len(text)]
    pieces, at_view, at_source, verbatim = [], [], [], []
    size = 0
    for index, (start, end) in enumerate(pairwise(edges)):
        if start == end:
            continue
        plain = index % 2 == 0
        piece = text[start:end] if plain else _decoded(text[start:end])
        at_view.append(size)
        at_source.append(start)
        verbatim.append(plain)
        pieces.append(piece)
        size += len(piece)
    at_source.append(len(text))
    return View(b"".join(pieces), at_view, at_source, verbatim)


def _decoded(escape: bytes) -> bytes:
    short = _SHORT.get(escape)
    if short is not None:
        return short
    units = bytes.fromhex(escape.replace(b"\\u", b"").decode())
    return units.decode("utf-16-be", errors="replace").encode()


def unescape(text: bytes) -> bytes:
    """The text of the view, many times faster, without the way back."""
    quotable = text.replace(b"\\\\", b"\\u005c").replace(b'\\"', b"\\u0022").replace(b'"', b"\\u0022")
    try:
        return str(_lenient.decode(f'"{quotable.decode()}"')).encode()
    except ValueError:  # a backslash that begins no escape, as in C:\\users, or half a surrogate pair
        return _ESCAPE.sub(lambda match: _decoded(match[0]), text)
