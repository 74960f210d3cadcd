"""Redacts a stream line by line: what is a JSON document is read as one and stays one line, all else is text."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from toolpolicy_sidecar.redact.placeholder import mask
from toolpolicy_sidecar.redact.redactor import Blocked, Redactor, Unscannable

_json = msgspec.json.Decoder(msgspec.Raw)
_KEY_BEGINS = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(rb"-----END [A-Z0-9 ]*PRIVATE KEY")
_KEY_GOES_ON = re.compile(rb"""[\s>|*#"'+.,;\\nr-]*(?:[A-Za-z-]+: .{1,100}|[A-Za-z0-9+/=]*)[\s"'+.,;\\nr]*""")
_PRIVATE_KEY = "PrivateKey"


class Outcome(NamedTuple):
    """`withheld`: why nothing of the line is given, only a note in its place; None when `value` is the line."""

    value: bytes
    hits: Mapping[str, int]
    is_json: bool
    withheld: str | None = None


class Lines:
    """Keeps one thing in mind from line to line: that the lines of a private key's text go on."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._within_key = False

    def redact(self, line: bytes) -> Outcome:
        """One line without its end, redacted as the policy says. Lines that the policy blocks, and lines that cannot
        be read where it says Refuse, are withheld."""
        is_json = _is_json(line)
        try:
            if is_json:
                self._within_key = False
                found = self._redactor.document(line)
                return Outcome(found.value, found.hits, is_json)
            return self._text(line)
        except Blocked as blocked:
            return _withheld(f"it holds {blocked}", is_json=is_json)
        except Unscannable as error:
            if self._redactor.on_unscannable == "Pass":
                return Outcome(line, {}, is_json)
            return _withheld(str(error), is_json=is_json)

    def _text(self, line: bytes) -> Outcome:
        if b"\0" in line:
            raise Unscannable("bytes that are zero: UTF-16 or no text")
        if self._within_key and _KEY_GOES_ON.fullmatch(line.partition(b"-----END ")[0]):
            self._within_key = _KEY_ENDS.search(line) is None
            return Outcome(mask(_PRIVATE_KEY) if line.strip() else line, {}, is_json=False)
        charset = "utf-8" if _is_utf8(line) else "latin-1"
        found = self._redactor.text(line.decode(charset))
        begun = _KEY_BEGINS.search(line)
        self._within_key = (
            begun is not None
            and _KEY_ENDS.search(line, begun.end()) is None
            and self._redactor.text(_A_KEY).hits.keys() == {_PRIVATE_KEY}
        )
        if self._within_key and not found.hits:
            return Outcome(mask(_PRIVATE_KEY), {_PRIVATE_KEY: 1}, is_json=False)
        return Outcome(found.value.encode(charset, errors="replace"), found.hits, is_json=False)


_A_KEY = f"-----BEGIN PRIVATE KEY-----\n{'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC' * 2}\n-----END PRIVATE KEY-----"
"""Whether the policy looks for keys is seen by whether it finds one."""


def _withheld(why: str, *, is_json: bool) -> Outcome:
    note = f"[withheld: {why}]"
    value = msgspec.json.encode(note) if is_json else note.encode()
    return Outcome(value, {}, is_json, withheld=why)


def _is_json(line: bytes) -> bool:
    try:
        _json.decode(line)
    except RecursionError:  # JSON all the same; what that means the redactor says
        return True
    except msgspec.DecodeError:
        return False
    return _is_utf8(line)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
