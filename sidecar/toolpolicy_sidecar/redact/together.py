"""Many short texts as one, so that a search over all of them costs no more than one: most of what a search in a short
text takes is its call."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, count
from operator import add
from typing import NamedTuple

_BETWEEN = b"\xff"
"""No part of UTF-8, so no text has it, nothing decodes to it, and no expression but `\\C` matches it. To RE2 it is no
part of a word, like the end of a text."""


class Together(NamedTuple):
    """`starts`: where each of the texts begins in the whole."""

    text: bytes
    texts: Sequence[bytes]
    starts: list[int]

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> "Together":
        return cls(_BETWEEN.join(texts), texts, _starts(texts))

    @classmethod
    def read(cls, text: bytes) -> "Together":
        """Another reading of the whole: of each text its own."""
        texts = text.split(_BETWEEN)
        return cls(text, texts, _starts(texts))

    def begin_with(self, letters: Iterable[bytes]) -> bool:
        """Whether any of the texts begins with one of these."""
        return any(
            self.text.startswith(letter) or self.text.find(_BETWEEN + letter) >= 0 for letter in letters
        )

    def is_ascii(self) -> bool:
        """Each of the texts."""
        return self.text.replace(_BETWEEN, b"").isascii()

    def holder(self, place: int) -> int:
        """The index of the text in which this place of the whole is."""
        return bisect_right(self.starts, place) - 1


def _starts(texts: Iterable[bytes]) -> list[int]:
    return [0, *map(add, accumulate(map(len, texts)), count(1))][:-1]
