"""Does it look like a password? What stands beside a name that means one may be anything."""

import re
from collections.abc import Iterator

from toolpolicy_sidecar.redact.detectors.naming import Naming, meaning, nearest_name
from toolpolicy_sidecar.redact.detectors.randomness import is_member
from toolpolicy_sidecar.redact.detectors.stand_ins import is_stand_in

_SHELL_VARIABLE = re.compile(rb"\$\{?PWD\W*$")
_TITLE = re.compile(rb"[A-Z][a-z]+|[^\x00-\x7f]+[ *:!?.]*")
_SELECTOR = re.compile(rb"[#/.][A-Za-z][A-Za-z_/.-]*|https?://.*|arn:aws[a-z-]*:.*")
_PHRASE = re.compile(
    rb"[A-Za-z\x80-\xff][A-Za-z\x80-\xff '().,:;!?*/-]*|.*(?:\xe3\x80[\x81\x82]|\xef\xbc\x8c).*"
)
"""Where there are other letters than those of ASCII: the word for a password, or what is said about one."""
_SENTENCE = re.compile(
    rb"(?i)^[^0-9]*\b(?:your?|enter|please|must|should|is|are|was|has|have|be|been|not?|to|can|will|required|invalid|wrong"
    rb"|incorrect|expired|forgot(?:ten)?|reset|change|confirm|new|current|old|least|characters|password|field|with|and|or)\b"
    rb"|(?: [^ ]+){5}|(?-i:^[A-Z][^0-9]*$)"
)
_MOST_PASSED = 5
"""Digits: so many tests may pass."""
_NAME = re.compile(rb"[A-Za-z_][\w.-]*+:")
_NEXT_LINE = re.compile(rb">\s*\n\s*\Z")
"""Behind what stands in for a password, `<PASSWORD>`, the next name."""
_GOES_ON_AS_PROSE = re.compile(rb"[.,]? +(?:[a-z]+(?:[\s,.!?'`]|$)|[0-9]+ (?:and|or|to) )")
_TEST = re.compile(rb"\bPASS(?:ED)?\W*$")
_NAMES_OF_FILES = re.compile(rb"[A-Za-z0-9]+(?:[-_./][A-Za-z0-9]+)+")
_TYPE = re.compile(
    rb"(?:[A-Z][a-z]+)+(?:Keys?|Password|Secret|Token|String|Str|Input|Field|Hash|Type|Props|Schema|Config|Credentials?"
    rb"|Options?|Value|Info|Policy|Provider|Validator|Form|Control)"
)
"""Of a parameter or a member in code."""


def password(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Anything, but for variables, words of forms, code, and sentences about passwords."""
    value = text[start:end]
    quoted = text[start - 1 : start] in {b'"', b"'", b"`"} and start > 0
    if is_stand_in(value) or _SHELL_VARIABLE.search(text, max(0, start - 8), start):
        return
    if (
        _SELECTOR.fullmatch(value)
        or _TITLE.fullmatch(value)
        or (not value.isascii() and _PHRASE.fullmatch(value))
    ):
        return
    if not quoted and (text[end : end + 1] in {b"(", b"["} or is_member(value)):
        return
    if value.isdigit() and len(value) <= _MOST_PASSED and nearest_name(text, start).lower() == b"pass":
        return
    if not quoted and _TYPE.fullmatch(value) and text[end : end + 1] in _BEHIND_A_TYPE:
        return
    if not quoted and _NAMES_OF_FILES.fullmatch(value) and _TEST.search(text, max(0, start - 8), start):
        return
    if not quoted and _NAME.fullmatch(value) and _NEXT_LINE.search(text, max(0, start - 48), start):
        return
    if not quoted and value.isalpha() and text[start - 1 : start] == b"(":  # a variable, or a remark
        return
    before = text[max(0, start - 16) : start].lower()
    in_a_sentence = _GOES_ON_AS_PROSE.match(text, end) or before.endswith((b" is ", b" was ", b" to "))
    in_a_sentence = in_a_sentence or (value.endswith(b".") and before.endswith((b"password ", b"-psk ")))
    if not quoted and in_a_sentence and value.rstrip(b".,;:!").isalpha():
        return
    if value.find(b" ") >= 0 and _SENTENCE.search(value):
        return
    yield start, end


_BEHIND_A_TYPE = frozenset((b",", b";", b")", b"|", b">", b"?"))


def no_word(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A password where the place alone says that it may be one: then it is no word, no number, no name in code."""
    value = text[start:end]
    if not value.isalpha() and not value.isdigit() and not _NAMES.fullmatch(value):
        yield from password(text, start, end)


def of_setting(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """As before, unless the name is that of something known about a password, such as `TOKEN_TTL`."""
    if meaning(nearest_name(text, start)) is not Naming.OTHER:
        yield from no_word(text, start, end)


def in_a_statement(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """As before, but no marks around something that a document speaks of."""
    if text[start : start + 1] not in {b"<", b"*"}:
        yield from no_word(text, start, end)


_NAMES = re.compile(rb"-.*|[A-Za-z]+(?:[-_./: ][A-Za-z]+)*[.,;:!?]?|[a-z]+://.*")
