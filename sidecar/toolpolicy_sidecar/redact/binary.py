"""Pictures, sounds and archives in base64, as MCP's content blocks and many APIs carry them.

Their letters are no text: to scan them takes ten times as long as to scan a text, and what is found is chance. Their
bytes are no text either, but for the runs of characters in them: names, comments, metadata. Those are scanned, as
`strings` would show them, wherever in a group of three bytes they begin.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import NamedTuple

from toolpolicy_sidecar.redact.expression import Expression
from toolpolicy_sidecar.redact.pieces import STEP_BYTES, changed, copy_to, joined

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
_RUN = Expression(r"[\t\n\r -~]{10,}")


class Binary(NamedTuple):
    """`text` is `before` and `content` in base64."""

    text: bytes
    before: bytes
    content: bytes

    def redacted(self, redact: Callable[[bytes], bytes]) -> bytes:
        """The text, this very one if nothing in the runs of characters is redacted. `redact` returns its argument when
        it takes nothing out."""
        out = BytesIO()
        at = 0
        for start, end in _RUN.each(self.content):
            run = self.content[start:end]
            left = redact(run)
            if left is not run:
                copy_to(out, self.content, at, start)
                out.write(left)
                at = end
        if not at:
            return self.text
        copy_to(out, self.content, at, len(self.content))
        return self.before + changed(base64.b64encode, out.getvalue())


def opened(text: bytes) -> Binary | None:
    """If the whole of a text stands for one, also as a `data:` URL."""
    if len(text) < LEAST_BYTES:
        return None
    url = _URL.match(text)
    start = url.end() if url else 0
    try:
        if not binascii.a2b_base64(text[start : start + _HEAD]).startswith(_MAGIC):
            return None
        content = joined(_contents(text, start))
    except binascii.Error:
        return None
    return Binary(text, text[:start], content)


def _contents(text: bytes, start: int) -> Iterator[bytes]:
    """Of what is base64 from here on, step by step. Raises binascii.Error where it is none."""
    for at in range(start, len(text), STEP_BYTES):
        letters = text[at : at + STEP_BYTES]
        content = binascii.a2b_base64(letters)
        padding = letters[-2:].count(b"=") if at + STEP_BYTES >= len(text) else 0
        if 4 * (len(content) + padding) != 3 * len(letters):  # not every character was one of base64
            raise binascii.Error
        yield content
