"""What a name says of its value: identifiers of code and configuration, read word by word."""

import re
import string
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

_REACH = 96
_NEAR = 4
_IDENTIFIER = re.compile(rb"[A-Za-z_$][\w$.-]*|[0-9][\w$-]*[A-Za-z_][\w$.-]*")
_WORD = re.compile(rb"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET = re.compile(
    rb"secret|token|credential|creds|authoriz|api_?key|(?:access|auth|private|priv|encryption|encrypt|signing|"
    rb"sign|master|account|shared|storage|service|admin|license|subscription|bot|app|application|server|client|deploy|"
    rb"webhook|sas|consumer|integration|project|rest|write|read|live|prod|test|user|dev|developer|maps?|team|org|push|"
    rb"session|security|ssh|rsa|aes|hmac|jwt|crypto|cipher|decrypt|decryption|root|host|cloud|web|site|ingest|insert|"
    rb"query|search|management|tenant|vault|license|stream|realtime|messaging|payment|merchant|personal|partner)_?key"
    rb"|jwt|bearer|passw|passphrase|\bpat\b|_pat\b|\bauth\b|_auth\b|\bpwd"
)
_METADATA = frozenset(
    b"""
    name names type types url urls uri endpoint path paths file filename dir folder location expiry expires expire
    expiration exp ttl age lifetime issued length len size count counter limit max min budget used usage index idx
    format version ver algorithm alg arn prefix suffix status state hint label title description desc placeholder field
    fields header param required enabled disabled valid invalid scope scopes issuer iss audience aud provider kind class
    error message policy rotation manager store ref reference kid id ids digest checksum fingerprint thumbprint schema
    column alias selector env var variable template pattern regex encoding source method grant address contract decimals
    supply standard symbol holder price cost rate per mode ring board code stone word server backend engine bits curve
    tokenizer map mapping space
    """.split()
)
"""Last words of names of what is known about a secret, and may be seen."""
_PLACE = frozenset(
    b"""
    page next prev previous sync cursor continuation continue csrf xsrf scroll resume list idempotency public pub cache
    partition primary foreign sort object dedup deduplication group hash lookup index sequence bucket
    prompt completion max min total num cancellation syntax hot short keyboard arrow pressed
    """.split()
)
"""Words of names of what says where to go on, or which one of many, and protects nothing."""


_NO_SECRET = re.compile(
    rb"tokeni[sz]|publickeytoken|secrets?_?manager|key_?vault|checksum|\b(?:gpg|pgp|media|resource)_?key\b"
)
"""What cuts texts into pieces, the mark of a library of .NET, services that keep secrets, and numbers and
fingerprints that are called keys."""


_IDEMPOTENT = re.compile(rb"[Cc]lient(?:Request)?Token")
"""As AWS has it in most answers. Vault's `client_token` is one to log in with."""


class Naming(Enum):
    TELLING = "means a secret"
    OTHER = "what is known about one"
    UNKNOWN = "says nothing"


_NO_NAME = frozenset(b"string str var let const final value is was set to static mut".split())
_OF_NAMES = frozenset(f"{string.ascii_letters}{string.digits}_$.-".encode())
_BETWEEN_NAMES = bytes(character if character in _OF_NAMES else ord(" ") for character in range(256))
"""White space in the place of all that no name can hold."""


def _runs_before(text: bytes, start: int) -> Iterator[bytes]:
    """Of what names can hold, the nearest one first."""
    return reversed(text[max(0, start - _REACH) : start].translate(_BETWEEN_NAMES).split())


def name_before(text: bytes, start: int) -> Naming:
    """Of the nearest names before `text[start:]` the first one that says something."""
    left = _NEAR
    for run in _runs_before(text, start):
        for name in _IDENTIFIER.findall(run)[: -left - 1 : -1]:
            naming = meaning(name)
            if naming is not Naming.UNKNOWN:
                return naming
            left -= 1
        if not left:
            break
    return Naming.UNKNOWN


def nearest_name(text: bytes, start: int) -> bytes:
    """Words of the language between a name and its value are none. Empty: there is no name."""
    for run in _runs_before(text, start):
        for name in reversed(_IDENTIFIER.findall(run)):
            if name.lower() not in _NO_NAME:
                return bytes(name)
    return b""


def meaning(name: bytes) -> Naming:
    """Names come again and again: what a few of them mean is kept."""
    return _known(name) if len(name) <= _KEPT_BYTES else _meaning(name)


def _meaning(name: bytes) -> Naming:
    if _NO_SECRET.search(name.lower()) or _IDEMPOTENT.fullmatch(name):
        return Naming.OTHER
    lower = name.lower().replace(b"-", b"_").replace(b".", b"_")
    words = [word.lower() for word in _WORD.findall(name)]
    if not _SECRET.search(lower) and b"key" not in words:
        return Naming.UNKNOWN
    if words[-1:] == [b"id"] and words[-2:-1] == [b"secret"]:
        return Naming.TELLING
    return Naming.OTHER if words[-1] in _METADATA or _PLACE.intersection(words) else Naming.TELLING


_KEPT_BYTES = 64
_known = lru_cache(512)(_meaning)
