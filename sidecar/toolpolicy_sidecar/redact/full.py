"""Documents that are full of what is looked for, such as lists of addresses. To ask for each string whether something
in it may be hit takes longer there than to look at all of them together."""

from toolpolicy_sidecar.redact import binary, document, names, wrapped
from toolpolicy_sidecar.redact.expression import Expression
from toolpolicy_sidecar.redact.scanner import DISGUISED, Scanner
from toolpolicy_sidecar.redact.together import Together

GAP_BYTES = 128
"""With one in so many a document is full of suspects."""
SHORT_BYTES = binary.LEAST_BYTES
"""Shorter texts are searched many at once."""

_BY_CHARACTER = r"[\x00%&]|=[^\s\"=&+]*\+"
_OTHERWISE = Expression(f"{_BY_CHARACTER}|{wrapped.EXPRESSION}")
"""RE2: where a text of ASCII without backslashes reads otherwise when it is decoded."""
_otherwise_by_character = Expression(_BY_CHARACTER)
_OPEN = (b" ", b"{", b"[")
_VALUE = frozenset({b"value", b"Value"})
_FAR = 7
"""Strings: three members with their names, and the next name."""
_NO_STRING = frozenset({b"-", b"[", b"{", *(b"%d" % digit for digit in range(10))})


def may_be(data: bytes) -> bool:
    """Whether each quote of this document begins or ends a string, and each character stands for itself."""
    return data.find(b"\\") < 0 and data.isascii()


def reads_otherwise(whole: Together) -> bool:
    """Whether one of these texts does, character by character."""
    return _otherwise_by_character.first(whole.text) is not None


def alone(scanner: Scanner, pieces: list[bytes]) -> dict[int, tuple[bytes, bool]] | None:
    """Of a part of a document, in pieces from quote to quote, the strings that cannot be searched together with others:
    long ones, those that may be documents, and those under a telling name. By their number: this name, and whether the
    string reads in no other way. None: something may be hit outside of strings."""
    outside = b'"'.join(pieces[::2])
    if scanner.may_hit(outside):
        return None
    strings = pieces[1::2]
    whole = Together.of(strings)
    found: dict[int, bytes] = {}
    if max(map(len, strings), default=0) >= SHORT_BYTES or whole.begin_with(_OPEN):
        for index, text in enumerate(strings):
            if len(text) >= SHORT_BYTES or document.looks_like_one(text):
                found[index] = b""
    if scanner.keyed and b":" in outside:
        named = _named(scanner, pieces)
        if named is None:
            return None
        found |= named
    return {index: (key, _OTHERWISE.first(strings[index]) is None) for index, key in found.items()}


def _named(scanner: Scanner, pieces: list[bytes]) -> dict[int, bytes] | None:
    """The strings under telling names, and these: `"name": "value"`, `{"name": "name", "value": "value"}`, or
    `["--name", "value"]`. None: something else stands under one, such as a number or a list."""
    telling: dict[bytes, bool] = {}
    found: dict[int, bytes] = {}
    behind = [piece.strip(b" \t\r\n") for piece in pieces[2::2]]
    strings = pieces[1::2]
    values = not _VALUE.isdisjoint(strings)
    for index, (name, sign) in enumerate(zip(strings, behind, strict=True)):
        at, far = index + 1, False
        if sign == b",":
            if strings[at] in _VALUE and behind[at][:1] == b":":
                sign, at = behind[at], at + 1  # noqa: PLW2901 -- of the name that is passed over
            elif names.is_option(name):
                sign = b":"  # noqa: PLW2901 -- as if it were one
            elif values and behind[at][:1] == b":":
                far = not _VALUE.isdisjoint(strings[at : at + _FAR])
        if sign[:1] != b":" and not far:
            continue
        if name not in telling:
            telling[name] = scanner.tells(name) or DISGUISED.first(name) is not None
        if telling[name]:
            if sign == b":":
                found[at] = name
            elif far or sign[1:].lstrip(b" \t\r\n")[:1] in _NO_STRING:
                return None
    return found
