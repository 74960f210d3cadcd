"""Is it random, rather than words, a name in code, a path or a date?"""

import math
import re
from collections import Counter

from toolpolicy_sidecar.redact.detectors.stand_ins import is_stand_in

LEAST_BITS = 2.8
"""Shannon entropy per character of a random value of 16 characters is above 3; of words it is mostly below."""
LEAST_BITS_OF_LETTERS = 4.0
"""Without a digit, which few random values lack and most names do."""
LEAST_BITS_OF_DIGITS = 2.5
LONG = 16
"""Characters: so few words are as long."""
_LEAST_BITS_OF_SHORT = 2.5
_LEAST_MIXED = 5
"""So many letters and digits, and nothing else, are no word and nothing that stands in for a value."""
_DIGIT = re.compile(rb"[0-9]")
_LETTER = re.compile(rb"[A-Za-z]")
_LETTERS = re.compile(rb"[A-Za-z+/_-]+=*")
_PIECE = rb"(?:[A-Z]{2,}|[A-Z]?[a-z]{2,}|[0-9]{1,4}|v[0-9]{1,2})"
_WORDS = re.compile(_PIECE + rb"(?:[-_./:@ ]" + _PIECE + rb")*")
_CONSONANTS = re.compile(rb"(?i)[bcdfghjklmnpqrstvwxz]{5}")
_TURN = re.compile(rb"(?=[a-z][A-Z]|[A-Z][a-z]|[A-Za-z][0-9]|[0-9][A-Za-z])")


def is_random(value: bytes) -> bool:
    """Rather than words, a path, a date or a variable's name."""
    mixed = value.isalnum() and not value.isalpha() and not value.isdigit()  # then it is nothing of all this
    if mixed and len(value) >= _LEAST_MIXED:
        return not _COUNTED.fullmatch(value) and has_entropy(
            value, LEAST_BITS if len(value) >= LONG else _LEAST_BITS_OF_SHORT
        )
    if not value.isdigit() or len(value) < _LEAST_MIXED:
        if is_stand_in(value) or _WORDS.fullmatch(value) or is_member(value):
            return False
        if _is_made_of_words(value) or value.endswith(b":"):  # the latter is a name itself
            return False
        if value.find(b"/") >= 0 and (value.find(b"://") >= 0 or value == value.lower()):
            return False  # a path: base64 of this length has capitals
    if not _LETTER.search(value):
        return len(value) >= LONG and has_entropy(value, LEAST_BITS_OF_DIGITS)
    if _DIGIT.search(value):
        return has_entropy(value, LEAST_BITS if len(value) >= LONG else _LEAST_BITS_OF_SHORT)
    if len(value) < LONG or not _LETTERS.fullmatch(value):
        return False
    if value.isalpha() and _is_camel_case(value):
        return False
    if value.isalpha() and (
        (len(value) >= 24 and has_entropy(value, LEAST_BITS_OF_LETTERS))
        or _CONSONANTS.search(value) is not None
    ):
        return True
    capitals = sum(map(str.isupper, value.decode()))
    return 3 * len(_TURN.findall(value)) >= len(value) and 0.3 <= capitals / len(value) <= 0.7


_COUNTED = re.compile(rb"(?i)(?:0?1234?5?6?7?8?9?0?|abcd?e?f?g?h?|qwe(?:rty)?|asdf)+")
"""What people type who need any value, as `123456abcdef`."""
_CAMEL_CASE = re.compile(
    rb"(?:[a-z]++|(?=[A-Z]))(?:[A-Z]{1,4}[a-z]{2,}+|(?:Of|By|To|In|On|Or|At|Is|Id)(?=[A-Z]|\Z))+"
)
_VOWEL = re.compile(rb"[aeiouAEIOU]")
_LEAST_VOWELS = 0.28
"""Of random letters there are hardly ever so many: on average 0.19."""
_LEAST_WORD = 5
"""Letters, on average. Of random letters every fourth is small before a capital."""


def _is_camel_case(value: bytes) -> bool:
    """Words of a name in code, as `ModelCardExportJobSummaries`."""
    size = len(value)
    return (
        _CAMEL_CASE.fullmatch(value) is not None
        and len(_TURN_TO_CAPITAL.findall(value)) * _LEAST_WORD <= size
        and len(_VOWEL.findall(value)) >= size * _LEAST_VOWELS
    )


_TURN_TO_CAPITAL = re.compile(rb"[a-z][A-Z]")
_WORD = re.compile(rb"[a-z]{3,}|[A-Z]{3,}|[A-Z][a-z]{2,}")
_SEPARATOR = re.compile(rb"[-_.:]")
_SHORT = 10
_GROUPS = re.compile(
    rb"(?=.*[0-9])(?:[A-Z0-9]{7}(?:-[A-Z0-9]{7}){3}|[A-Z0-9]{8}(?:-[A-Z0-9]{8}){3}|[A-Z0-9]{5}(?:-[A-Z0-9]{5}){3,5}"
    rb"|[a-z0-9]{8}(?:-[a-z0-9]{4}){3}-[a-z0-9]{12})"
)
"""As keys of licences and universal identifiers are written, of whatever letters: words are not of one length."""


def _is_made_of_words(value: bytes) -> bool:
    """With a suffix that tells many apart, as `coredns-5d78c9869d-x7x4q`: a name, and what it names may be known."""
    if _GROUPS.fullmatch(value):
        return False
    pieces = _SEPARATOR.split(value)
    others = [piece for piece in pieces if not _WORD.fullmatch(piece)]
    words = len(pieces) - len(others)
    return words >= 1 and max(map(len, others), default=0) <= _SHORT


_MEMBER = re.compile(rb"[A-Za-z_$][\w$]*+(?:(?:\.|->|::)[A-Za-z_$][\w$]*+)+")
_OF_NAMES = re.compile(rb"\.|->|::")
_HASHED = re.compile(rb"(?:[A-Za-z]*[0-9]){4,}[A-Za-z]*")
_LEAST_HASHED = 12


def is_member(value: bytes) -> bool:
    """Of something in code, as `os.environ`; but nobody calls anything `k3yid8Xw2Lq90ab1`."""
    return _MEMBER.fullmatch(value) is not None and not any(
        len(name) >= _LEAST_HASHED and _HASHED.fullmatch(name) for name in _OF_NAMES.split(value)
    )


def has_entropy(value: bytes, least_bits: float) -> bool:
    """Shannon's, per character."""
    size, kinds = len(value), len(set(value))
    if size < len(_OF_COUNT) and _SIZE_BITS[size] - _OF_COUNT[size - kinds + 1] / size >= least_bits:
        return True  # even where one of them comes again and again, and each other once
    weighted = map(_of_count, Counter(value).values())
    return math.log2(size) - sum(weighted) / size >= least_bits


def _of_count(count: int) -> float:
    return count * math.log2(count)


_OF_COUNT = [0.0, *map(_of_count, range(1, 512))]
_SIZE_BITS = [0.0, *map(math.log2, range(1, 512))]
