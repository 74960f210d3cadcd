"""Tables in a text, as CSV, as Markdown and as databases draw them: what stands in a column stands under its head."""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from toolpolicy_sidecar.redact.expression import Expression
from toolpolicy_sidecar.redact.names import one_of

_WORD = r"[A-Za-z0-9_.()#/-]"
_NAME = rf"[\"']?[A-Za-z_]{_WORD}{{0,30}}(?: {_WORD}{{1,20}}){{0,3}}[\"']?"
_PADDED = rf"[ \t]{{0,9}}{_NAME}[ \t]{{0,60}}"
_BEGINS = r"(?:\A|\n[ \t]*\r?\n|`{3}[a-z]{0,9}\r?\n|[:+]\r?\n)"
"""Behind a blank line, a fence, a colon, or the line that databases draw above."""
_head = Expression(
    rf"{_BEGINS}(?:{_NAME}(?:[,;\t]{_NAME})+|[ \t]{{0,9}}\|?{_PADDED}(?:\|{_PADDED})+\|?[ \t]*)\r?\n"
)
_DELIMITERS = re.compile(rb"[,;\t|]")
_BLANK_LINE = re.compile(rb"\n[ \t]*\r?\n")
_MOST_COLUMNS = 100
_MOST_TELLING = 8
"""Each takes another walk through the rows."""


class Cell(NamedTuple):
    """`start:end` of the text stands under `name`."""

    name: bytes
    start: int
    end: int


def cells_under(text: bytes, tells: Callable[[bytes], bool]) -> Iterator[Cell]:
    """Those under names that are telling."""
    at = 0
    while at < len(text) and (found := _head.first(text, at)) is not None:
        start, at = found
        head = text[start:at].strip().rpartition(b"\n")[2].strip()
        delimiter = _DELIMITERS.search(head.strip(b"|"))
        if delimiter is None:
            continue
        names = [name.strip(b" \t\"'") for name in head.strip(b"|").split(delimiter[0])][:_MOST_COLUMNS]
        blank = _BLANK_LINE.search(text, at - 1)
        end = blank.start() + 1 if blank else len(text)
        telling = ((column, name) for column, name in enumerate(map(one_of, names)) if tells(name))
        for column, name in islice(telling, _MOST_TELLING):
            for row in _column(delimiter[0], column).finditer(text, at, end):
                cell = row.lastindex or 0
                written, begin = row[cell].rstrip(), row.start(cell)
                if written:
                    yield Cell(name, begin, begin + len(written))


@lru_cache(64)
def _column(delimiter: bytes, column: int) -> re.Pattern[bytes]:
    if delimiter == b"|":
        before = rb"[ \t]*+\|?(?:[^|\r\n]*+\|){%d}[ \t]*+" % column
        return re.compile(rb"(?m)^%b([^|\r\n]*+)(?=\||\r?$)" % before)
    others = b"\\" + delimiter
    before = rb'(?:(?:"[^"]{0,1024}+(?:""[^"]{0,1024}+){0,64}"|[^%b\r\n"]*+)%b){%d}' % (
        others,
        others,
        column,
    )
    return re.compile(
        rb'(?m)^%b(?:"([^"]{0,1024}+(?:""[^"]{0,1024}+){0,64})"|([^%b\r\n"]*+))(?=%b|\r?$)'
        % (before, others, others)
    )
