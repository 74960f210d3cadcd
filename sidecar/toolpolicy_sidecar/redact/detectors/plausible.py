"""Does it look like a secret? What stands beside a telling name, or behind a scheme, may be anything."""

import base64
import binascii
import json
import re
from collections.abc import Iterator

from toolpolicy_sidecar.redact.detectors.detector import varied
from toolpolicy_sidecar.redact.detectors.naming import Naming, meaning, name_before, nearest_name
from toolpolicy_sidecar.redact.detectors.randomness import LONG, has_entropy, is_random
from toolpolicy_sidecar.redact.detectors.stand_ins import is_mixed


def json_header(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The first part of a JWT is JSON with `alg` or `enc` in it (RFC 7515, RFC 7516)."""
    header, payload = text[start:end].split(b".", 2)[:2]
    if payload.startswith(b"eyJ") and len(payload) >= LONG:  # two objects side by side: nothing else looks so
        yield start, end
        return
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except (ValueError, binascii.Error):
        return
    if isinstance(decoded, dict) and decoded.keys() & {"alg", "enc", "typ"}:
        yield start, end


_OF_HEADER = re.compile(rb"(?i)authorization\W{1,6}basic $")


def basic_credentials(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """`user:password` in base64 (RFC 7617)."""
    try:
        decoded = base64.b64decode(text[start:end], validate=True)
    except binascii.Error:
        return
    if b":" in decoded and decoded.isascii():
        yield start, end
    elif end - start >= LONG and _OF_HEADER.search(text, max(0, start - 30), start):
        yield from credential(text, start, end)


def of_signs(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Random, and with signs that words and addresses do not have between their letters."""
    value = text[start:end]
    signs = _SIGN.findall(value)
    if (
        len(signs) > 1
        and b"://" not in value
        and not _TEMPLATE.search(value)
        and has_entropy(value, LEAST_BITS_OF_SIGNS)
    ):
        yield start, end


_SIGN = re.compile(rb"[^A-Za-z0-9_./:-]")
_TEMPLATE = re.compile(rb"\$\{|\{\{|<[a-z]|%\(|\)\.|\(\)|\]\(|\\")
LEAST_BITS_OF_SIGNS = 4.0


def of_seed(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """As many words as BIP 39 has them, and hardly one twice."""
    words = list(_SEED_WORD.finditer(text, start, end))
    size = max((size for size in (12, 15, 18, 21, 24) if size <= len(words)), default=0)
    kinds = {word[0] for word in words[:size]}
    if size and 2 * len(kinds) >= size and not _PROSE & kinds:
        yield start, words[size - 1].end()


_SEED_WORD = re.compile(rb"[a-z]+")
_PROSE = frozenset(b"the and you your for with not are this from will that have".split())
"""In no list of BIP 39's words."""


def random(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Beside a name that means a secret."""
    if text[end : end + 1] in {b"$", b"{"}:  # something is put in here
        return
    if _PUBLIC.fullmatch(text, start, end) or _CHECKSUM.search(text, max(0, start - 64), start):
        return
    if name_before(text, start) is Naming.TELLING and is_random(text[start:end]):
        yield start, end


_PUBLIC = re.compile(rb".*@sha256:[0-9a-f]{64}|0x[0-9a-fA-F]{40}")
"""An image behind a name with a tag; the address of an account or a contract, which is no key: keys have 64 digits."""
_CHECKSUM = re.compile(rb"checksum/[\w.-]*\W{1,6}\Z")
"""As Helm notes it, to restart what reads a secret."""


def of_key(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Beside a name that ends in key. A name that is no more than that is one in code and in queries, not in JSON,
    where it says which of many."""
    name = nearest_name(text, start)
    if name == b"key":
        at = text.rfind(name, 0, start)
        said = _SAID.search(text, max(0, at - LONG), start)
        if said:
            name = said[1] + b"_key"
        elif at == 0 or text.find(b"=", at, start) < 0:
            return
    if meaning(name) is Naming.TELLING and is_random(text[start:end]):
        yield start, end


_SAID = re.compile(
    rb"(?!(?:the|this|that|an?|each|its|their|whose|which) )\b([A-Za-z0-9]{3,}) key (?:is|was)\W+\Z"
)
"""Whose key it is, not just some key."""


LEAST_BITS_BESIDE_A_PROVIDER = 3.0
_DIGIT = re.compile(rb"[0-9]")


def of_provider(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Beside the name of a provider: letters and digits, not few, for the name alone is no proof."""
    value = text[start:end]
    if (
        _DIGIT.search(value)
        and has_entropy(value, LEAST_BITS_BESIDE_A_PROVIDER)
        and meaning(nearest_name(text, start)) is not Naming.OTHER
        and is_random(value)
    ):
        yield start, end


def with_digits(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not the name of a method."""
    if len(re.findall(rb"[0-9]", text[start:end])) > 1:
        yield start, end


def whole(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not a part of a longer run of base64, in which any few characters stand somewhere, and not a path of words."""
    if not _is_part(text, start, end) and _DIGIT.search(text, start, end):
        yield start, end


_HASH = re.compile(rb"(?:[0-9]+-)?[0-9a-f]*")


def no_hash(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Of letters of all kinds, and not hexadecimal, as names of files are that say what is in them."""
    if not _HASH.fullmatch(text, start, end):
        yield from varied(text, start, end)


def of_prefix(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Behind letters of somebody's own: of every kind of character, and no part of anything longer."""
    if is_mixed(text[text.rfind(b"_", start, end) + 1 : end]):
        yield from alone(text, start, end)


def alone(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Letters of both kinds and digits, and no part of anything longer."""
    value = text[start:end]
    if not _is_part(text, start, end) and is_mixed(value) and has_entropy(value, LEAST_BITS_ALONE):
        yield start, end


LEAST_BITS_ALONE = 3.7
_OF_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]")


def _is_part(text: bytes, start: int, end: int) -> bool:
    """Of a longer run of base64."""
    return _OF_BASE64.search(text[max(0, start - 1) : start] + text[end : end + 1]) is not None


_MORE_OF_BASE64 = re.compile(rb"[A-Za-z0-9+/=]")


def ended(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not the beginning of a longer run of base64, nor a stand-in."""
    if not _MORE_OF_BASE64.match(text, end):
        yield from varied(text, start, end)


def credential(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Behind a scheme."""
    if is_random(text[start:end]):
        yield start, end


_HEAD = re.compile(rb"(?:[A-Za-z0-9]{1,32}[_-]){0,3}\Z")
_FIRST_OF_PREFIXED = re.compile(rb"(?:[A-Za-z]{2,10}[_-])?[a-z]{2,6}(?=[_-])")


def prefixed(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not the key of a cache, or of anything else that says which one of many."""
    goes_on = text[start - 1 : start] in {b"_", b"-"}
    head = _HEAD.search(text, max(0, start - 32), start) if goes_on else None
    first = _FIRST_OF_PREFIXED.match(text, start, end)
    name = (head[0] if head else b"") + (first[0] if first else b"")
    if meaning(name) is not Naming.OTHER:
        yield from credential(text, start, end)
