"""Content-Encoding, undone under a cap: what a scanner cannot read, it cannot vouch for."""

import zlib

from toolpolicy_sidecar.redact.verdict import Unscannable

STEP_BYTES = 64 * 1024
MEMBERS = 16
"""A gzip body may be several files one after the other; thousands of tiny ones only cost time."""

_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class TooLarge(Exception):  # noqa: N818 -- names what happened
    """Decoded, the body is over the limit. No more than that and one step was ever in memory."""


def decode(data: bytes, encoding: str, limit_bytes: int) -> bytes:
    """Raises Unscannable for an unknown, stacked or broken encoding, TooLarge beyond the limit."""
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        if len(data) > limit_bytes:
            raise TooLarge
        return data
    if name not in _WBITS:
        raise Unscannable(f"content encoding {name[:32]!r}")
    wbits = _WBITS[name]
    if name == "deflate" and not _has_zlib_header(data):
        wbits = -zlib.MAX_WBITS  # what some servers call deflate: RFC 1951 without the frame of RFC 1950
    try:
        return _inflate(data, wbits, limit_bytes, name)
    except zlib.error:
        raise Unscannable(f"broken {name}") from None


def _inflate(data: bytes, wbits: int, limit_bytes: int, name: str) -> bytes:
    source = memoryview(data)
    out = bytearray()
    members = 1
    decoder = zlib.decompressobj(wbits)
    at = 0
    pending: bytes | memoryview = b""
    while True:
        if not pending and at < len(source):
            pending = source[at : at + STEP_BYTES]
            at += len(pending)
        piece = decoder.decompress(pending, STEP_BYTES)
        out += piece
        if len(out) > limit_bytes:
            raise TooLarge
        if not decoder.eof:
            pending = decoder.unconsumed_tail
            if not piece and not pending and at == len(source):
                raise Unscannable(f"truncated {name}")
            continue
        pending = decoder.unused_data
        if not pending and at == len(source):
            return bytes(out)
        if wbits <= zlib.MAX_WBITS:
            raise Unscannable(f"bytes after the end of {name}")
        if members == MEMBERS:
            raise Unscannable(f"more than {MEMBERS} gzip members")
        members += 1
        decoder = zlib.decompressobj(wbits)


def _has_zlib_header(data: bytes) -> bool:
    return len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
