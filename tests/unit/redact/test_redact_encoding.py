import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_sidecar.redact.encoding import MEMBERS, STEP_BYTES, decode
from toolpolicy_sidecar.redact.redactor import Unscannable
from toolpolicy_sidecar.redact.verdict import TooLarge

LIMIT_BYTES = 1024 * 1024


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    " GZip ": gzip.compress,
}


@given(st.binary(max_size=300_000), st.sampled_from(sorted(PACKERS)))
def test_what_was_packed_is_unpacked(data: bytes, encoding: str) -> None:
    assert decode(PACKERS[encoding](data), encoding, LIMIT_BYTES) == data
    assert decode(raw_deflate(data), "deflate", LIMIT_BYTES) == data
    assert decode(data, "identity", LIMIT_BYTES) == data
    assert decode(data, "", LIMIT_BYTES) == data


@pytest.mark.parametrize("size", [0, 1, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, LIMIT_BYTES])
def test_up_to_the_limit_and_not_a_byte_more(size: int) -> None:
    data = bytes(size)
    assert decode(gzip.compress(data, mtime=0), "gzip", size) == data
    for body, encoding in (
        (gzip.compress(data + b"x", mtime=0), "gzip"),
        (zlib.compress(data + b"x"), "deflate"),
    ):
        with pytest.raises(TooLarge):
            decode(body, encoding, size)
    with pytest.raises(TooLarge):
        decode(data + b"x", "identity", size)


def test_a_bomb_never_takes_more_than_the_limit_and_a_step() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024), 9)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decode(bomb, "gzip", LIMIT_BYTES)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"64 MiB bomb under a limit of 1 MiB: {peak_bytes / 2**20:.2f} MiB at most")
    assert peak_bytes < 1.25 * LIMIT_BYTES + 3 * STEP_BYTES  # a bytearray grows by an eighth


def test_some_members_are_one_body_and_many_are_refused() -> None:
    member = gzip.compress(b"ab", mtime=0)
    assert decode(member * MEMBERS, "gzip", LIMIT_BYTES) == b"ab" * MEMBERS
    with pytest.raises(Unscannable, match="more than 16 gzip members"):
        decode(member * (MEMBERS + 1), "gzip", LIMIT_BYTES)
    with pytest.raises(Unscannable, match="more than 16 gzip members"):
        decode(gzip.compress(b"", mtime=0) * 100_000, "gzip", LIMIT_BYTES)


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "snappy", "gzip, gzip", "gzip,deflate", "identity, gzip", "x" * 1000]
)
def test_unknown_and_stacked_encodings_are_unscannable(encoding: str) -> None:
    with pytest.raises(Unscannable, match="content encoding") as caught:
        decode(b"", encoding, LIMIT_BYTES)
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (b"", "gzip", "truncated gzip"),
        (b"plain", "gzip", "broken gzip"),
        (b"plain", "deflate", "broken deflate"),
        (gzip.compress(b"abc", mtime=0)[:-1], "gzip", "truncated gzip"),
        (zlib.compress(b"abc")[:-1], "deflate", "truncated deflate"),
        (raw_deflate(b"abc" * 1000)[:-4], "deflate", "truncated deflate"),
        (gzip.compress(b"abc", mtime=0)[:-8] + bytes(8), "gzip", "broken gzip"),
        (gzip.compress(b"abc", mtime=0) + b"junk", "gzip", "broken gzip"),
        (zlib.compress(b"abc") + b"junk", "deflate", "bytes after the end of deflate"),
    ],
)
def test_a_broken_body_is_unscannable(body: bytes, encoding: str, reason: str) -> None:
    with pytest.raises(Unscannable, match=reason):
        decode(body, encoding, LIMIT_BYTES)
