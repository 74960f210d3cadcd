"""Content-Encoding, undone with a cap: what a scanner cannot read, it cannot vouch for."""

import zlib

from toolpolicy_sidecar.redact.redactor import Unscannable

STEP_BYTES = 64 * 1024
MEMBERS = 64

_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class TooLarge(Exception):  # noqa: N818 -- names what happened
    """Decoded, the body is over the limit. No more than that was ever in memory."""


def decode(data: bytes, encoding: str, limit_bytes: int) -> bytes:
    """Raises Unscannable for an unknown, stacked or broken encoding, TooLarge beyond the limit."""
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return data
    if name not in _WBITS:
        raise Unscannable(f"content encoding {name[:32]!r}")
    pieces, size, members = [], 0, 0
    while data:
        members += 1
        if members > MEMBERS:
            raise Unscannable("too many gzip members")
        decoder = zlib.decompressobj(_WBITS[name])
        try:
            while not decoder.eof:
                piece = decoder.decompress(data, STEP_BYTES)
                data = decoder.unconsumed_tail
                if not piece and not data and not decoder.eof:
                    raise Unscannable(f"truncated {name}")
                size += len(piece)
                if size > limit_bytes:
                    raise TooLarge
                pieces.append(piece)
        except zlib.error:
            raise Unscannable(f"broken {name}") from None
        data = decoder.unused_data
    return b"".join(pieces)
