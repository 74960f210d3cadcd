"""What a detector is. Detectors are data: tests read the examples from here, a new one is a new entry."""

import re
import string
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from toolpolicy_sidecar.redact.expression import Bounds, Expression

Validator = Callable[[bytes, int, int], Iterator[tuple[int, int]]]
"""Is what looks like one really one? Gets the whole text and a candidate's span, both in bytes of UTF-8, and
yields the spans that are real: none, a part of the candidate, or several."""

Every = Callable[[bytes, Expression], Iterable[Bounds]]
"""All that the expression, which it gets, and the validator find in a text of ASCII, several times faster where there
are many. It is linear, and no step of it is long."""

Confidence = Literal["Low", "Medium", "High"]
CONFIDENCES: tuple[Confidence, ...] = ("Low", "Medium", "High")
"""High: the form alone says it, or a checksum. Medium: a form that is rarely anything else, or a telling name
beside it. Low: a form that other things have too."""


class Detector(NamedTuple):
    """`expression` is RE2; where it has groups, the one that took part is the candidate.

    `trigger` is RE2 too, and stands in every match: one search for all triggers rules a whole document out at
    the speed of memory. For that it is short, of bounded length and without anchors, and its automaton stays
    small: nothing is optional that need not be. What is met in every document, such as a time in milliseconds, it
    should pass over.
    `keyed`: part of the match is a telling name, which in JSON is the key before the value. Each of `examples`
    must be hit, in `others` nothing must be hit. `source`: where the facts about the form come from. `value`, `near`:
    short cuts (`expression.Candidates`).
    """

    name: str
    groups: tuple[str, ...]
    description: str
    source: str
    confidence: Confidence
    trigger: str
    expression: str
    examples: tuple[str, ...]
    others: tuple[str, ...]
    validator: Validator | None = None
    keyed: bool = False
    every: Every | None = None
    value: re.Pattern[bytes] | None = None
    near: re.Pattern[bytes] | None = None


def beside(form: str) -> re.Pattern[bytes]:
    """What matches the next one of many that stand side by side. `form`: RE2 that means the same to `re`, is of bounded
    length, has one group, and begins where no other alternative of the expression does."""
    return re.compile(rb"[ -@\xff]{0,8}?" + form.encode())


UPPER = "A-Z0-9"
LOWER = "a-z0-9"
HEX = "0-9a-f"
ALNUM = "A-Za-z0-9"
URL64 = "A-Za-z0-9_-"
BASE64 = "A-Za-z0-9+/"

_INVENTED = {
    UPPER: "Q7W2E9RTY4UZ3PLK",
    LOWER: "q7w2e9rty4uz3plk",
    HEX: "3fa07bc195de2684",
    ALNUM: "q7W2e9RtY4uZ3pLk",
    URL64: "q7W2e9_tY4u-3pLk",
    BASE64: "q7W2e9+tY4u/3pLk",
}


def invented(size: int, characters: str = ALNUM) -> str:
    """A secret for examples: made here, so that no scanner of repositories takes one for real."""
    unit = _INVENTED.get(characters) or next(
        unit for known, unit in _INVENTED.items() if characters.startswith(known)
    )
    return (unit * (size // len(unit) + 1))[:size]


AT = r"[^\s@]@[^\s@]"
SCANNING = "docs.github.com/code-security, supported secret scanning patterns"
"""The source of many forms of tokens."""
FARTHER = (
    r"</[a-z]{2,8}>[\t\n\r ]{0,9}<[a-z]{2,8}[^<>0-9]{0,40}>[\t\n\r ]{0,3}"
    r"|\?[\t\n\r ]{1,4}[A-Z][A-Za-z ]{1,15}: {1,2}"
)
"""RE2, without digits: between a name and its value in a table of HTML, and between who asks and who answers."""
SIX_AND_THREE = "[0-9]{6}[-+A-FU-Y][0-9]{3}"
"""Triggers of several detectors: what is the same is looked for once."""


_PIECE = r"(?>(?:[A-Za-z]?[a-z]*+(?:[A-Z][a-z]++)*|[A-Z]++|[0-9]{1,4}+)(?=[-_./]|\Z))"
_SEVERAL_WORDS = re.compile(rf"{_PIECE}(?:[-_./]{_PIECE}){{3,}}+".encode())


def varied(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not what stands in for a secret in documentation, such as `ghp_xxxxxxxx`, nor a name of four words and more."""
    value = text[start:end]
    if len(set(value[-16:])) >= VARIETY and not _SEVERAL_WORDS.fullmatch(value):
        yield start, end


def secret(  # noqa: PLR0917 -- the columns of a table
    name: str,
    description: str,
    source: str,
    trigger: str,
    expression: str,
    examples: tuple[str, ...],
    others: tuple[str, ...],
    validator: Validator | None = varied,
    *,
    confidence: Confidence = "High",
    keyed: bool = False,
) -> Detector:
    """A secret that is told by its form."""
    groups = ("Secrets",)
    return Detector(
        name, groups, description, source, confidence, trigger, expression, examples, others, validator, keyed
    )


def token(  # noqa: PLR0917 -- the columns of a table
    name: str,
    prefixes: tuple[str, ...],
    characters: str,
    size: int,
    description: str,
    source: str,
    *,
    told_by: int = 1,
) -> Detector:
    """A secret that begins with letters of its own: the prefix, then `size` or more characters, no dot the last.
    `told_by`: so many of them the trigger asks for, more than one where words begin as the prefix does."""
    literals = "|".join(map(_literal, prefixes))
    last = characters.replace(r"\.", "")
    bounded = all(prefix.isalnum() for prefix in prefixes) or not _ENDS_OF_WORDS.isdisjoint(prefixes)
    edge = r"\b" if bounded else ""
    return Detector(
        name=name,
        groups=("Secrets",),
        description=description,
        source=source,
        confidence="High",
        trigger=f"{edge}(?:{literals})[{characters}]" + (f"{{{told_by}}}" if told_by > 1 else ""),
        expression=f"{edge}(?:{literals})[{characters}]{{{size - 1},}}[{last}]=*",
        examples=tuple(prefix + invented(size, characters) for prefix in prefixes),
        others=(*(prefix + invented(size - 1, characters) for prefix in prefixes), prefixes[0] + "x" * size),
        validator=varied,
    )


VARIETY = 6
"""Different characters among the last sixteen; of random ones there are hardly ever fewer than nine."""
_ENDS_OF_WORDS = frozenset(
    (
        "sk-",
        "sk_",
        "re_",
        "pa-",
        "al-",
        "fw_",
        "key-",
        "live_",
        "test_",
        "nfo_",
        "phs_",
        "lip_",
        "ico-",
        "pat_",
        "mob-",
        "ck_",
        "ts_",
        "org_",
        "db-",
        "cr-",
        "m0-",
        "p.eyJ1I",
        "na1.",
        "cal_",
        "cog_",
        "apk_",
        "msk_",
        "tid_",
        "ptk_",
        "ptr_",
        "pts_",
        "prf_",
        "bu_",
        "odt_",
        "ES_",
        "STAGE_",
        "TEST-",
        "VF.",
        "STS.",
        "NF-",
        "mint_",
        "secret-test-",
        "hf_",
        "r8_",
        "p8-",
        "uw_",
    )
)
"""Beginnings of secrets with which words end, as in `task-`, `core_` and `latest_`, or so short that they
are met within base64: no letter stands before these."""
_PLAIN = frozenset(string.ascii_letters + string.digits + "_-")


def _literal(text: str) -> str:
    return "".join(letter if letter in _PLAIN else rf"\{letter}" for letter in text)
