"""Values that a model must not see, but a trusted tool gets: each stands in a conversation as a token, and the sidecar
alone knows what it stands for. Nothing of it leaves this process; it ends with it.
"""

import base64
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from threading import Lock
from typing import NamedTuple
from urllib.parse import quote, quote_plus, unquote_to_bytes

from toolpolicy_api import snapshot
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.redact import document, wrapped
from toolpolicy_sidecar.redact.expression import Expression
from toolpolicy_sidecar.redact.placeholder import KEYED
from toolpolicy_sidecar.redact.verdict import TooDeep

LIMIT_BYTES = 16 * 1024 * 1024
"""Of all tokens of a policy with their values; those that were not seen for the longest time go first."""
ENTRY_BYTES = 256
"""What an entry takes beside its value, about."""

_OPEN = b"[redacted:"
_TOKEN = re.compile(rb"\[redacted:[A-Za-z0-9._-]{1,128}" + KEYED + rb"\]")
_DEPTH = 3


def _wrapped_sign() -> str:
    """RE2: the beginning of a token in base64, wherever in a group of three bytes it begins, and in hexadecimal."""
    shifted = [
        (base64.b64encode(bytes(shift) + _OPEN), 8 * shift, 8 * (shift + len(_OPEN))) for shift in range(3)
    ]
    signs = [letters[-(-first // 6) : end // 6].decode() for letters, first, end in shifted]
    return "|".join([*signs, f"(?i:{_OPEN.hex()})"])


_WRAPPED = Expression(_wrapped_sign())


class _Kept(NamedTuple):
    value: bytes
    until: float


class Vault:
    """Of one policy. Bounded in bytes and, for each token, in time since it was last made."""

    def __init__(self, tokens: snapshot.Tokens, clock: Clock, limit_bytes: int = LIMIT_BYTES) -> None:
        self._clock, self._limit_bytes = clock, limit_bytes
        self._kept: OrderedDict[tuple[bytes, bytes], _Kept] = OrderedDict()
        self._size_bytes = 0
        self._lock = Lock()  # redaction of large bodies runs in threads
        self.reload(tokens)

    def reload(self, tokens: snapshot.Tokens) -> None:
        """Under a new version of the policy: what is kept stays."""
        self._keep_s = tokens.keep_ms / 1000
        self._header = tokens.session_header.lower().encode() if tokens.session_header else None

    def session(self, headers: Iterable[tuple[bytes, bytes]]) -> "Session | None":
        """That a request belongs to; None: the policy names a header for it, and the request has none, or several."""
        if self._header is None:
            return Session(self, b"")
        found = [value for name, value in headers if name.lower() == self._header]
        if len(found) != 1 or not found[0]:
            return None
        return Session(self, blake2b(found[0], digest_size=16).digest())

    def keep(self, session: bytes, token: bytes, value: bytes) -> None:
        with self._lock:
            self._drop((session, token))
            self._kept[session, token] = _Kept(value, self._clock.monotonic() + self._keep_s)
            self._size_bytes += len(value) + ENTRY_BYTES
            while self._size_bytes > self._limit_bytes:
                self._drop(next(iter(self._kept)))

    def value(self, session: bytes, token: bytes) -> bytes | None:
        """None: it is none of this session's, or was kept for too long."""
        with self._lock:
            found = self._kept.get((session, token))
            if found is None:
                return None
            if found.until > self._clock.monotonic():
                self._kept.move_to_end((session, token))
                return found.value
            self._drop((session, token))
            return None

    def _drop(self, key: tuple[bytes, bytes]) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._size_bytes -= len(found.value) + ENTRY_BYTES


class Session:
    """One conversation: its tokens, and their values put back for a tool that is trusted with them. What is no token
    of it stays as it is."""

    __slots__ = ("_vault", "salt")

    def __init__(self, vault: Vault, salt: bytes) -> None:
        self._vault, self.salt = vault, salt

    def keep(self, token: bytes, value: bytes) -> None:
        self._vault.keep(self.salt, token, value)

    def text(self, text: bytes) -> bytes:
        if _OPEN in text:
            text = _TOKEN.sub(self._value, text)
        return text if _WRAPPED.first(text) is None else self._rewrapped(text)

    def json(self, data: bytes, depth: int = 0) -> bytes:
        """Of a valid document; also of documents in its strings."""
        pieces: list[bytes] = []
        at = 0
        wrapped_too = _WRAPPED.first(data) is not None
        for match in document.TOKEN.finditer(data):
            token = match.group()
            if b"redacted:" not in token and not (wrapped_too and _WRAPPED.first(token)):
                continue
            text = document.string_value(token)
            nested = depth < _DEPTH and _is_document(text)
            left = self.json(text, depth + 1) if nested else self.text(text)
            if left != text:
                pieces += [data[at : match.start()], document.string_token(left)]
                at = match.end()
        return b"".join([*pieces, data[at:]]) if pieces else data

    def query(self, raw: str) -> str:
        """Also a form."""
        return self._words(raw, r"[&=]", lambda word: word.replace("+", " "), quote_plus)

    def path(self, raw: str) -> str:
        return self._words(raw, "/", lambda word: word, lambda value: quote(value, safe=""))

    def _words(
        self, raw: str, between: str, spaced: Callable[[str], str], quoted: Callable[[bytes], str]
    ) -> str:
        if "redacted" not in raw:
            return raw
        words: Sequence[str] = re.split(f"({between})", raw)
        return "".join(
            quoted(left) if (left := self.text(plain := unquote_to_bytes(spaced(word)))) != plain else word
            for word in words
        )

    def _rewrapped(self, text: bytes) -> bytes:
        """Redaction leaves tokens in base64 and hexadecimal too. What comes back decodes to what it was; which of the
        alphabets of base64 it was in, and whether padded, is not always seen of what is left."""
        pieces: list[bytes] = []
        at = 0
        for run in wrapped.runs(text):
            content = run.content
            left = self.json(content) if _is_document(content) else _TOKEN.sub(self._value, content)
            if left != content:
                pieces += [text[at : run.start], run.wrap(left)]
                at = run.end
        return b"".join([*pieces, text[at:]]) if pieces else text

    def _value(self, match: re.Match[bytes]) -> bytes:
        found = self._vault.value(self.salt, match.group())
        return match.group() if found is None else found


def _is_document(text: bytes) -> bool:
    """What is nested too deep to be read is a text."""
    try:
        return document.is_one(text)
    except TooDeep:
        return False
