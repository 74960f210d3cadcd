"""Does it look like a secret? What stands beside a telling name, or behind a scheme, may be anything."""

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Iterator


def json_header(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The first part of a JWT is JSON with `alg` or `enc` in it (RFC 7515, RFC 7516)."""
    header = text[start:end].split(b".", 1)[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except (ValueError, binascii.Error):
        return
    if isinstance(decoded, dict) and decoded.keys() & {"alg", "enc", "typ"}:
        yield start, end


def basic_credentials(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """`user:password` in base64 (RFC 7617)."""
    try:
        decoded = base64.b64decode(text[start:end], validate=True)
    except binascii.Error:
        return
    if b":" in decoded and decoded.isascii():
        yield start, end


_STAND_IN = re.compile(
    rb"(?i)(?:"
    rb"[$%]?[{(<\[]{1,2}[^})>\]]*[})>\]]{0,2}|\$[A-Za-z_]\w*|%\w{1,20}%?|[*x.#_-]+|(.)\1*"
    rb"|(?:your|my|the|an?|some|new|old|process|os|env|config|settings|self|this|args|input)[._-].*"
    rb"|none|null|nil|undefined|true|false|string|text|number|integer|boolean|object|array|password|passwd|secret|token"
    rb"|required|optional|example|changeme|change_?it|redacted|masked|hidden|removed|encrypted|placeholder|default"
    rb"|(?:in)?correct|(?:in)?valid|expired|missing|unknown|unset|empty|disabled|enabled|reset|forgotten|bearer|basic"
    rb")"
)
"""What stands where a secret would: variables, words of forms and of error messages."""


def password(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    if not _STAND_IN.fullmatch(text, start, end) and not _SHELL_VARIABLE.search(
        text, max(0, start - 8), start
    ):
        yield start, end


_MEANS_A_PLACE = re.compile(
    rb"(?i)(?:page|next|prev(?:ious)?|sync|cursor|continu(?:e|ation)|csrf|xsrf|scroll|resume|list|search|idempotency)"
    rb"[_. -]?(?:token|key)\W*$"
)
"""Tokens that say where to go on, and protect nothing."""
LEAST_BITS = 2.8
"""Shannon entropy per character of a random value of 16 characters is above 3; of words it is mostly below."""
LEAST_BITS_OF_LETTERS = 4.0
"""Without a digit, which few random values lack and most names do."""
_SHELL_VARIABLE = re.compile(rb"\$\{?PWD\W*$")


def random(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    value = text[start:end]
    if _STAND_IN.fullmatch(value) or _MEANS_A_PLACE.search(text, max(0, start - 40), start):
        return
    bits = entropy_bits(value)
    if re.search(rb"[0-9]", value) is None:
        likely = len(value) >= 24 and bits >= LEAST_BITS_OF_LETTERS and value.isalpha()
    else:
        likely = bits >= LEAST_BITS and (re.search(rb"[A-Za-z]", value) is not None or len(value) >= 32)
    if likely:
        yield start, end


def entropy_bits(value: bytes) -> float:
    """Shannon's, per character."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values())
