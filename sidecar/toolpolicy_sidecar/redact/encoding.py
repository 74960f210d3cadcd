"""Content-Encoding, undone under a cap: what a scanner cannot read, it cannot vouch for."""

import zlib

from toolpolicy_sidecar.redact.verdict import TooDeep, TooLarge, UnknownEncoding, Unparsable

STEP_BYTES = 64 * 1024
MEMBERS = 16
"""A gzip body may be several files one after the other; thousands of tiny ones only cost time."""

_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def decode(data: bytes, encoding: str, limit_bytes: int) -> bytes:
    """Raises UnknownEncoding (also of several), Unparsable, TooLarge, TooDeep."""
    name = encoding and encoding.strip().lower()
    if name in {"", "identity"}:
        if len(data) > limit_bytes:
            raise TooLarge(_over(limit_bytes))
        return data
    if name not in _WBITS:
        raise UnknownEncoding(f"content encoding {name[:32]!r}")
    wbits = _WBITS[name]
    if name == "deflate" and not _has_zlib_header(data):
        wbits = -zlib.MAX_WBITS  # what some servers call deflate: RFC 1951 without the frame of RFC 1950
    try:
        return _inflate(data, wbits, limit_bytes, name)
    except zlib.error:
        raise Unparsable(f"broken {name}") from None


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
            raise TooLarge(_over(limit_bytes))
        if not decoder.eof:
            pending = decoder.unconsumed_tail
            if not piece and not pending and at == len(source):
                raise Unparsable(f"truncated {name}")
            continue
        pending = decoder.unused_data
        if not pending and at == len(source):
            return bytes(out)
        if wbits <= zlib.MAX_WBITS:
            raise Unparsable(f"bytes after the end of {name}")
        if members == MEMBERS:
            raise TooDeep(f"more than {MEMBERS} gzip members")
        members += 1
        decoder = zlib.decompressobj(wbits)


def _has_zlib_header(data: bytes) -> bool:
    return len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0


def _over(limit_bytes: int) -> str:
    return f"decoded it is over {limit_bytes} bytes"
