"""What stands in the place of something redacted."""

import hashlib
import re
from collections.abc import Iterable, Iterator

from toolpolicy_sidecar.redact.pieces import PIECE_BYTES, stands_in

FIELD = "field"
"""What hits are called that are found by their place."""

_OPEN = b"[redacted:"
_TAG = b":abcdefghijklmnop"
_LETTERS = bytes.maketrans(b"0123456789abcdef", _TAG[1:])
"""Letters only: a placeholder must not look like a number that may be a card."""
_VALUE_BYTES = 6
_PROOF_BYTES = 3
KEYED = rb":[a-p]{%d}" % (2 * (_VALUE_BYTES + _PROOF_BYTES))
_NUMBER = re.compile(rb"\+?[0-9(][0-9 .()/-]+")


def mask(name: str) -> bytes:
    return f"[redacted:{name}]".encode()


def comparable(value: bytes) -> bytes:
    """A number without its separators; everything else as it is."""
    return value.translate(None, b" .()/-") if _NUMBER.fullmatch(value) else value


class Placeholders:
    """Makes them, and knows its own again, so that nothing is redacted twice.

    `key` is secret: whoever has it can try out values. Without it nobody can write a placeholder that is taken for
    one of ours, and hide a value in it. `characters`: all that they are made of.
    """

    def __init__(self, key: bytes, names: Iterable[str], literals: Iterable[bytes]) -> None:
        self._key = key
        longest_first = sorted(set(literals) - {b""}, key=lambda literal: (-len(literal), literal))
        names = frozenset(names)
        either = "|".join(sorted(map(re.escape, names), key=len, reverse=True)).encode()
        own = rb"\[redacted:(?:%b)(%b)?\]" % (either, KEYED)
        self._signs = [_OPEN, *longest_first]
        own_bytes = (
            len(_OPEN) + max(map(len, names), default=0) + len(":]") + 2 * (_VALUE_BYTES + _PROOF_BYTES)
        )
        self._longest_bytes = max(own_bytes, *map(len, longest_first), 0)
        self._any = re.compile(b"|".join([*map(re.escape, longest_first), own]))
        self.characters = b"".join([_OPEN, b"]", _TAG, *map(str.encode, names), *literals])

    def keyed(self, name: str, value: bytes, salt: bytes = b"") -> bytes:
        """The same for the same value, whatever it was found as; a number may be written with other separators.
        Values under different salts, of 16 bytes at most, cannot be compared."""
        tag = self._hash(comparable(value), _VALUE_BYTES, salt)
        return b"[redacted:%b:%b%b]" % (name.encode(), tag, self._hash(tag, _PROOF_BYTES))

    def none_near(self, text: bytes, start: int, end: int) -> bool:
        """True: what stands at `start:end` is no part of one."""
        around = text[max(0, start - self._longest_bytes) : end + self._longest_bytes]
        return max(map(around.find, self._signs)) < 0

    def spans(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Where they stand, in order. So much is looked through in a step that none is long."""
        at = 0
        for begin in range(0, len(text), PIECE_BYTES):
            end = begin + PIECE_BYTES
            for match in self._any.finditer(text, max(at, begin), end + self._longest_bytes):
                if match.start() >= end:  # what follows may be seen in part
                    break
                at = match.end()
                if self._is_ours(match[1]):
                    yield match.span()

    def may_stand_in(self, text: bytes) -> bool:
        """Many times faster than the expression."""
        if len(text) <= PIECE_BYTES:
            return any(map(text.__contains__, self._signs))
        return any(stands_in(sign, text) for sign in self._signs)

    def _is_ours(self, keyed: bytes | None) -> bool:
        if keyed is None:
            return True
        tag, proof = keyed[1 : 1 + 2 * _VALUE_BYTES], keyed[1 + 2 * _VALUE_BYTES :]
        return self._hash(tag, _PROOF_BYTES) == proof

    def _hash(self, value: bytes, size_bytes: int, salt: bytes = b"") -> bytes:
        digest = hashlib.blake2b(value, digest_size=size_bytes, key=self._key, salt=salt)
        return digest.hexdigest().encode().translate(_LETTERS)
