"""Where thousands of candidates stand side by side: to ask for each of them costs more than to ask for all."""

import re
import string
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

from toolpolicy_sidecar.redact.detectors.detector import Validator
from toolpolicy_sidecar.redact.expression import Bounds, Expression

WINDOW_BYTES = 32 * 1024
"""Each step takes some ten microseconds on so much."""
_PAUSE_S = 10e-6
"""Between windows RE2 lets other threads run, but for so short a moment that the interpreter is taken back before one
of them is awake; and each such moment makes it wait anew before it may ask. Without a pause the event loop may wait for
as long as a text has windows."""
_MANY = 8
_GAP_BYTES = 64
"""After so many candidates with less between them, or in one as long as they are, all in a window are asked at once."""

REACH_BYTES = 64
"""No card and no address, with its separators and what is asked of the characters beside it, is as long."""
_WORD = frozenset(f"{string.ascii_letters}{string.digits}_".encode())

InWindow = Callable[[bytes, int, int], tuple[Iterable[Bounds], int]]
"""Gets a text, and from where to where in it; gives all that are real and begin there, and from where to go on."""


def in_crowds(
    text: bytes, candidate: Expression, validator: Validator, in_window: InWindow
) -> Iterator[Bounds]:
    """What the validator finds in each candidate. `candidate` has no groups."""
    at = near = last = 0
    while (match := candidate.first(text, at)) is not None:
        start, end = match
        near = near + 1 if start - last < _GAP_BYTES else 0
        if near < _MANY and end - start < _MANY * _GAP_BYTES:
            yield from validator(text, start, end)
            at = end
        else:
            at = start
            while at < end:  # to look for the rest of a long one again and again would be quadratic
                found, at = in_window(text, at, at + WINDOW_BYTES)
                yield from found
                if len(text) > WINDOW_BYTES:
                    time.sleep(_PAUSE_S)
        last = at


class Window(NamedTuple):
    """What stands side by side in one: `written`, from where to where, what is `between` (before the first, and behind
    the last one too), and from where to go on."""

    written: list[bytes]
    bounds: list[Bounds]
    between: list[bytes]
    goes_on: int


def split(text: bytes, candidate: re.Pattern[bytes], start: int, end: int) -> Window:
    """All that match and begin there. `candidate` has one group, which is all of it: so each is found in a fifth of the
    time that a search by the engine takes."""
    end = between_words(text, start, end)
    parts = candidate.split(text[start : end + REACH_BYTES])
    places = [*accumulate(map(len, parts), initial=start)]
    bounds = [*zip(places[1::2], places[2::2], strict=False)]
    while bounds and bounds[-1][0] >= end:
        bounds.pop()
    goes_on = max(end, bounds[-1][1]) if bounds else end
    return Window(parts[1 : 2 * len(bounds) : 2], bounds, parts[: 2 * len(bounds) + 1 : 2], goes_on)


def between_words(text: bytes, start: int, end: int) -> int:
    """Where a window can end, not far before `end`: nothing that is looked for begins within a word, or in one that is
    longer than its reach."""
    least = max(start + 1, end - REACH_BYTES)
    while least < end < len(text) and text[end - 1] in _WORD:
        end -= 1
    return end
