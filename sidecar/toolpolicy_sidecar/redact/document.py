"""JSON as text: is it valid, and where are its strings and numbers? Nothing is decoded that need not be."""

import re
from array import array
from collections.abc import Collection
from decimal import Decimal
from io import BytesIO
from itertools import accumulate
from operator import itemgetter

import msgspec

from toolpolicy_sidecar.redact import valid
from toolpolicy_sidecar.redact.names import IS_NAME
from toolpolicy_sidecar.redact.pieces import between_escapes, joined, part, pieces, without_escapes
from toolpolicy_sidecar.redact.verdict import TooDeep, Unparsable

MAX_DEPTH = valid.DEEPEST

# Possessive: in a valid document nothing is ever tried twice, and no stack of tries is kept.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?[0-9][0-9.eE+-]*+', re.DOTALL)
_BEGUN = re.compile(rb'"|-?[0-9][0-9.eE+-]*+')
QUOTE = ord('"')

# Whole pairs and other escapes are passed over; what group 1 finds is a half.
_HALF_PAIR = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)

_string = msgspec.json.Decoder(str)
_BRACKETS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHER = bytes(set(range(256)) - set(b"[{]}"))
_OF_NUMBER = frozenset(b"0123456789.eE+-")
_STEP_BYTES = 16 * 1024
_WRITTEN_BYTES = 64 * 1024
_COUNT_BYTES = 256 * 1024
_MATTER = MAX_DEPTH + 1
_MAY_BEGIN = frozenset({b" ", b"\t", b"\r", b"\n", b"{", b"[", b'"'})
_FIRST = itemgetter(slice(1))
_UTF16_32_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_LONGEST_EXPANSION = 64

LONG_EXPONENT = "[0-9.]{12,}[eE]"
"""A number in scientific notation that is long enough to hide a payment card."""
_LONG_EXPONENT = re.compile(rb"-?[0-9.]{12,}+[eE]")


def check(data: bytes) -> None:
    """Is it JSON by RFC 8259, in UTF-8, not too deep? Raises Unparsable, TooDeep; each defect says so."""
    if len(data) > valid.LARGE_BYTES and valid.is_valid_in_parts(data):
        return
    try:
        if not data.isascii():
            data.decode()
        valid.skip(data)
    except RecursionError:
        raise TooDeep(f"JSON nested deeper than {MAX_DEPTH}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unparsable(_defect(data, error)) from None
    if too_deep(data):
        raise TooDeep(f"JSON nested deeper than {MAX_DEPTH}")


def looks_like_one(text: bytes) -> bool:
    """Could this be an object, a list or a string of JSON? Its first and last character say."""
    if text[:1] not in _MAY_BEGIN:
        return False
    stripped = text.strip(b" \t\r\n")
    return stripped[:1] + stripped[-1:] in {b"{}", b"[]", b'""'}


def any_looks_like_one(texts: Collection[bytes]) -> bool:
    """The same of many, of which mostly none begins so."""
    return not _MAY_BEGIN.isdisjoint(map(_FIRST, texts)) and any(map(looks_like_one, texts))


def is_one(text: bytes) -> bool:
    """Is the value of a string itself such a document? Raises TooDeep."""
    if not looks_like_one(text):
        return False
    if len(text) > valid.LARGE_BYTES and valid.is_valid_in_parts(text):
        return True
    try:
        valid.skip(text)
    except RecursionError:
        raise TooDeep(f"JSON nested deeper than {MAX_DEPTH}") from None
    except msgspec.DecodeError:
        return False
    if too_deep(text):
        raise TooDeep(f"JSON nested deeper than {MAX_DEPTH}")
    return True


class Tokens:
    """The strings and numbers of a valid document, from place to place in it, at the speed of a search for quotes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        escapes = b"\\" in data
        self._quoted = joined(without_escapes(data, b"__")) if escapes else data
        """Where a quote begins or ends a string, at the same place."""
        self._at = 0

    def begin(self, place: int) -> None:
        """Again from this place, which is in no string."""
        self._at = place

    def pass_over(self, place: int) -> int:
        """To where a string or number ends behind this place, and is no name of what follows."""
        while place < len(self._data) and (found := self.reaching(place)) is not None:
            place = found[1]
            if not IS_NAME.match(self._data, place):
                return place
        return len(self._data)

    def reaching(self, place: int) -> tuple[int, int] | None:
        """Where the first one is, after the last one, that ends behind this place."""
        start = self._at
        if place > start:
            if self._quoted.count(b'"', start, place) % 2:
                start = self._quoted.rfind(b'"', start, place)
            else:
                while place > start and self._data[place - 1] in _OF_NUMBER:
                    place -= 1
                start = place
        begun = _BEGUN.search(self._data, start)
        if begun is None:
            return None
        start = begun.start()
        # A long string is passed over as fast as memory is read, and none of it is tried against an expression.
        string = self._data[start] == QUOTE
        self._at = self._quoted.find(b'"', start + 1) + 1 if string else begun.end()
        return start, self._at


def string_value(token: bytes) -> bytes:
    if b"\\" not in token:
        return part(token, 1, len(token) - 1)
    if len(token) <= _WRITTEN_BYTES:
        return _string.decode(token).encode()
    return joined(
        _string.decode(b'"%b"' % piece).encode()
        for piece in pieces(part(token, 1, len(token) - 1), between_escapes)
    )


def string_token(value: bytes) -> bytes:
    if len(value) <= _WRITTEN_BYTES:
        return msgspec.json.encode(value.decode())
    out = BytesIO()
    out.write(b'"')
    at = 0
    while at < len(value):  # piece by piece, so that other threads may run in between
        end = at + _WRITTEN_BYTES
        while value[end : end + 1] and value[end] & 0xC0 == 0x80:  # never within a character
            end -= 1
        out.write(msgspec.json.encode(value[at:end].decode())[1:-1])
        at = end
    out.write(b'"')
    return out.getvalue()


def written_out(number: bytes) -> bytes | None:
    """A long number in scientific notation as plain digits; None for every other number."""
    if not _LONG_EXPONENT.match(number):
        return None
    value = Decimal(number.decode())
    return None if abs(value.adjusted()) > _LONGEST_EXPANSION else format(value, "f").encode()


def too_deep(data: bytes) -> bool:
    """Deeper than is read."""
    if len(data) <= _COUNT_BYTES:
        brackets = _brackets(data)
    else:
        brackets = sum(_brackets(data[at : at + _COUNT_BYTES]) for at in range(0, len(data), _COUNT_BYTES))
    if brackets <= MAX_DEPTH:
        return False
    depth = inside = 0
    for piece in without_escapes(data, b"", _STEP_BYTES):
        parts = piece.split(b'"')
        outside = b"".join(parts[inside::2])
        inside ^= (len(parts) - 1) % 2
        steps = array("b", outside.translate(_BRACKETS, delete=_OTHER))
        depths = list(accumulate(steps, initial=depth))
        if max(depths) > MAX_DEPTH:
            return True
        depth = depths[-1]
    return False


def _brackets(piece: bytes) -> int:
    """`count` looks at each byte, `replace` goes from one to the next; no more of them are counted than matter."""
    return len(piece) - len(piece.replace(b"[", b"", _MATTER).replace(b"{", b"", _MATTER))


def _defect(data: bytes, error: Exception) -> str:
    if data.startswith(_UTF16_32_MARKS) or 0 in data[:4]:
        return "JSON that is not UTF-8 but UTF-16 or UTF-32"
    if isinstance(error, UnicodeDecodeError):
        return "JSON that is not UTF-8"
    if any(match[1] for match in _HALF_PAIR.finditer(data)):
        return "JSON with half a surrogate pair"
    place = re.search(r"byte \d+", str(error))
    return f"malformed JSON ({place[0] if place else 'truncated'})"
