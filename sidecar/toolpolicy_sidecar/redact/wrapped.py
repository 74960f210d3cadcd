"""Texts in base64 (both alphabets, with or without padding, in lines or not) and in hexadecimal, inside of other
texts. A long word is no such text by itself: what it stands for must be ASCII, so that hashes, ids and pictures
are passed over at the speed of the search.
"""

import binascii
import re
from collections.abc import Generator, Iterator
from functools import partial

import msgspec

from toolpolicy_sidecar.redact.expression import Expression
from toolpolicy_sidecar.redact.pieces import STEP_BYTES, changed

_SHORT = 64
"""Characters: in so short a run a wrong beginning is tried again one character later."""
_LONG_BYTES = 24
_USUAL = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .-_@:/=+,"
_UNUSUAL = bytes(set(range(128)) - set(_USUAL))
_UNSEEN = bytes(set(range(32)) - set(b"\t\n\r")) + b"\x7f"

# The three bytes of four characters are ASCII when these bits are zero: the first of the first character, the
# third of the second, the fifth of the third. The first byte is printable, or white space.
_FIRST, _SECOND, _THIRD = "[CDI-Za-f]", "[A-HQ-Xg-nw-z0-3]", "[ABEFIJMNQRUVYZcdghklopstwx014589]"
_FOUR = rf"{_FIRST}{_SECOND}{_THIRD}[A-Za-z0-9+/_-]"
_BASE64 = rf"(?:{_FOUR}(?:\r?\n)?){{3,}}{_FIRST}{_SECOND}(?:{_THIRD}[A-Za-z0-9+/_-]?)?={{0,2}}"
_HEX = "(?:[2-7][0-9A-Fa-f]|0[9AaDd]){10,}"
"""Ten bytes at least, the length of the shortest number that a detector is sure of."""


EXPRESSION = f"{_BASE64}|{_HEX}"
"""RE2: what looks like one."""
LEAST_CHARACTERS = 14
CHARACTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
"""So many of these on end, at least; in base64 there may be line breaks between them."""
_any = Expression(EXPRESSION)
_STANDARD, _URLSAFE = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")
_base64 = partial(binascii.b2a_base64, newline=False)
_MANY = 8
_WINDOW_BYTES = 64 * 1024
_LONGEST_BREAK_BYTES = 2
_WORDS = re.compile(rb"([A-Za-z0-9+/_-]{14,}+={0,2}+)(\r?\n)?|\n")
"""Behind a line break it may go on."""
_WORD = frozenset(bytes((character,)) for character in CHARACTERS - {ord("=")})


class Run(msgspec.Struct, frozen=True, gc=False):
    """`content` is what `written`, which is `start:end` of a text, stands for; `wrap` writes such a content in the same
    way."""

    start: int
    end: int
    written: bytes
    content: bytes
    text: bytes

    def wrap(self, content: bytes) -> bytes:
        written = self.written
        if written[:1].isdigit():
            encode = _lower_hex if written == changed(bytes.lower, written) else _upper_hex
            return changed(encode, content)
        if (
            self.text[self.end : self.end + 1] in _WORD
        ):  # more of the same word: it must begin with a new group of four
            content += b" " * (-len(content) % 3)
        encoded = changed(_base64, content)
        if written.isalnum():  # most are
            return encoded if len(written) % 4 == 0 else encoded.rstrip(b"=")
        if b"-" in written or b"_" in written:
            encoded = changed(_urlsafe, encoded)
        padded = written.endswith(b"=") or len(changed(_bare, written)) % 4 == 0
        return encoded if padded else encoded.rstrip(b"=")


def runs(text: bytes) -> Iterator[Run]:
    """In order, none inside of another."""
    at = near = 0
    texts: dict[bytes, bytes | None] = {}
    while found := _any.first(text, at):
        start, end = found
        near = near + 1 if start - at < _SHORT else 0
        if near == _MANY:
            near, at = 0, (yield from _plain_words(text, start))
            if at > start:
                continue
        written = text[start:end]
        if written not in texts:  # a KeyError for each of many costs more than to look twice
            texts[written] = _text(written)
        content = texts[written]
        if content is not None:
            yield Run(start, end, written, content, text)
            at = end
        else:
            at = start + 1 if end - start <= _SHORT else end


def _plain_words(text: bytes, start: int) -> Generator[Run, None, int]:
    """Words that are base64 of a plain text as a whole, from `start` on, where there is one, to the first one that may
    be anything else; and from where to go on. Side by side each is found in a fifth of the time that a search takes."""
    last = start + _WINDOW_BYTES
    for word in _WORDS.finditer(text, start, last + _LONGEST_BREAK_BYTES):
        written, goes_on = word.groups()
        begin, stop = word.span()
        if written is None:
            return start
        if goes_on or stop > last or len(written) % 4:
            return begin
        if written.isalnum():
            content = binascii.a2b_base64(written)
        else:
            standard = written.translate(_STANDARD)
            content = binascii.a2b_base64(standard)
            if _base64(content) != standard:
                return begin
        if content.translate(None, _USUAL):
            return begin
        yield Run(begin, stop, written, content, text)
        start = stop
    return start


def contents(text: bytes) -> bytes:
    """Of all runs, one below the other."""
    return b"\n".join(run.content for run in runs(text))


def _lower_hex(content: bytes) -> bytes:
    return content.hex().encode()


def _upper_hex(content: bytes) -> bytes:
    return content.hex().upper().encode()


def _from_hex(written: bytes) -> bytes:
    return bytes.fromhex(written.decode())


def _urlsafe(written: bytes) -> bytes:
    return written.translate(_URLSAFE)


def _bare(written: bytes) -> bytes:
    """Of base64, in its usual alphabet."""
    return written.translate(_STANDARD, b"=\r\n")


def _content_in_steps(written: bytes) -> bytes:
    if written[:1].isdigit():
        return changed(_from_hex, written)
    bare = changed(_bare, written)
    return changed(binascii.a2b_base64, bare + b"=" * (-len(bare) % 4))


def _text(written: bytes) -> bytes | None:
    """None: it stands for something that is no text."""
    if len(written) > STEP_BYTES:
        content = _content_in_steps(written)
    elif written[:1].isdigit():  # begins hexadecimal, and no base64 of ASCII
        content = bytes.fromhex(written.decode())
    else:
        bare = written if written.isalnum() else written.translate(_STANDARD, b"=\r\n")
        content = binascii.a2b_base64(bare + b"=" * (-len(bare) % 4))
    if len(content) <= STEP_BYTES and not content.translate(None, _USUAL):  # most that are texts
        return content
    if not content.isascii():
        return None
    # Random bytes are rarely so many printable characters, and a few of them rarely so common ones.
    strange = _UNSEEN if len(content) >= _LONG_BYTES else _UNUSUAL
    ordinary = changed(lambda part: part.translate(None, strange), content)
    few = 10 * (len(content) - len(ordinary)) <= len(content)
    return content if few else None
