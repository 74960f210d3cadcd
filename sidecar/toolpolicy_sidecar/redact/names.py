"""Under which name a string or number of a document stands."""

import re
from collections.abc import Callable
from typing import NamedTuple

_S = rb"[ \t\r\n]*+"
_MEMBER = (
    rb'"[^"\\]{0,64}+"' + _S + rb":" + _S + rb'(?:"[^"\\]{0,256}+"|[0-9a-z.+-]{1,32}+)' + _S + rb"," + _S
)
_BEGINS = rb'(?=["0-9-])'
"""A string or a number."""

IS_NAME = re.compile(rb"(?:%b,%b\"[Vv]alue\")?%b:%b" % (_S, _S, _S, _S))
"""Between a name and its value: `"name": value`, or `{"name": "name", "value": value}`."""
_PASSED = rb"(?:(?:null|true|false)" + _S + rb"," + _S + rb"){0,64}"
_IN_LIST = re.compile(rb"\[" + _S + _PASSED + _BEGINS)
_NEXT = re.compile(_S + rb"," + _S + _PASSED + _BEGINS)
_IN_OBJECT = re.compile(
    rb'\{%b(?:%b){0,3}?"(?:[Vv]alue|VALUE|_value|key|plaintext|_|_text|#text|[$]t)"%b:%b%b'
    % (_S, _MEMBER, _S, _S, _BEGINS)
)
_BESIDE = re.compile(rb'%b,%b(?:%b){1,3}?"[Vv]alue"%b:%b%b' % (_S, _S, _MEMBER, _S, _S, _BEGINS))
_VALUE = b'alue"'
_BESIDE_BYTES = 512
_LONGEST_BYTES = 64


class Named(NamedTuple):
    """The string or number that begins at `at` stands under `name`, and, where it is `listed`, what follows it in its
    list."""

    name: bytes
    at: int
    listed: bool = False

    def next(self, data: bytes, end: int) -> "Named | None":
        """`end`: of this one."""
        found = _NEXT.match(data, end) if self.listed else None
        return Named(self.name, found.end(), listed=True) if found else None


def named_by(data: bytes, text: bytes, end: int, tells: Callable[[bytes], bool]) -> Named | None:
    """What the string `text`, which ends there in a document, is the name of: `"name": value`, `"names": [value, …]`,
    `"name": {"value": value}`, `{"name": "name", "type": "string", "value": value}`, and `["--name", value]`. `tells`:
    whether a name is one that anybody looks for."""
    found = IS_NAME.match(data, end)
    if found is not None:
        at = found.end()
        if data[at] == ord("["):
            inside = _IN_LIST.match(data, at)
            name = one_of(text)
            return Named(name, inside.end(), listed=True) if inside and tells(name) else None
        if data[at] == ord("{"):
            inside = _IN_OBJECT.match(data, at) if tells(text) else None
            return Named(text, inside.end()) if inside else None
        return Named(text, at)
    if is_option(text):
        found = _NEXT.match(data, end)
    elif data.find(_VALUE, end, end + _BESIDE_BYTES) >= 0 and _may_be_name(text):
        found = _BESIDE.match(data, end)
    return Named(text, found.end()) if found and tells(text) else None


def one_of(names: bytes) -> bytes:
    """Of `passwords` each is a password."""
    return names[:-1] if names[-1:] in _PLURAL and names[-2:-1] not in _PLURAL else names


_PLURAL = frozenset({b"s", b"S"})


def is_option(text: bytes) -> bool:
    """Of a command, whose value comes next."""
    return text.startswith(b"-") and _may_be_name(text)


def _may_be_name(text: bytes) -> bool:
    return len(text) <= _LONGEST_BYTES and b" " not in text
