"""Pictures, sounds and archives in base64, as MCP's content blocks and many APIs carry them.

Their letters are no text: to scan them takes ten times as long as to scan a text, and what is found is chance. Their
bytes are no text either, but for the runs of characters in them: names, comments, metadata. Those are scanned, as
`strings` would show them, wherever in a group of three bytes they begin.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import NamedTuple

LEAST_BYTES = 1024
"""Smaller ones are scanned like every text."""

_MAGIC = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",  # JPEG
    b"GIF87a",
    b"GIF89a",
    b"RIFF",  # WebP, WAV, AVI
    b"PK\x03\x04",  # ZIP and all formats of Office
    b"\x1f\x8b\x08",  # gzip
    b"OggS",
    b"ID3",  # MP3
    b"fLaC",
    b"\x1aE\xdf\xa3",  # WebM
)
_HEAD = 16
_URL = re.compile(rb"data:[a-z]+/[A-Za-z0-9.+-]{1,64};base64,")
_RUN = re.compile(rb"[\t\n\r -~]{10,}")


class Binary(NamedTuple):
    """`text` is `before` and `content` in base64."""

    text: bytes
    before: bytes
    content: bytes

    def redacted(self, redact: Callable[[bytes], bytes]) -> bytes:
        """The text, this very one if nothing in the runs of characters is redacted. `redact` returns its argument when
        it takes nothing out."""
        pieces: list[bytes] = []
        at = 0
        for match in _RUN.finditer(self.content):
            run = match[0]
            left = redact(run)
            if left is not run:
                pieces += (self.content[at : match.start()], left)
                at = match.end()
        if not pieces:
            return self.text
        return self.before + base64.b64encode(b"".join([*pieces, self.content[at:]]))


def opened(text: bytes) -> Binary | None:
    """If the whole of a text stands for one, also as a `data:` URL."""
    if len(text) < LEAST_BYTES:
        return None
    url = _URL.match(text)
    start = url.end() if url else 0
    try:
        if not binascii.a2b_base64(text[start : start + _HEAD]).startswith(_MAGIC):
            return None
        letters = text[start:]
        content = binascii.a2b_base64(letters)
    except binascii.Error:
        return None
    size = len(content) + letters[-2:].count(b"=")
    if 4 * size != 3 * len(letters):  # not every character was one of base64
        return None
    return Binary(text, text[:start], content)
