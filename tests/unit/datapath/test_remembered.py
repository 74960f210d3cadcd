"""What callers make the sidecar keep is little, and never wrong."""

from toolpolicy_sidecar.heads import HEAD_BYTES, KEPT, Heads, plain, split
from toolpolicy_sidecar.remembered import (
    CHARACTERS,
    HEADERS,
    HEADERS_BYTES,
    TEXTS,
    remembered,
    remembered_headers,
)
from toolpolicy_sidecar.upstream.headers import Header

Headers = tuple[Header, ...]


def test_few_texts_are_kept_and_no_long_ones() -> None:
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return len(asked)

    find = remembered(count)
    assert find("a") == find("a") == 1
    long = "x" * (CHARACTERS + 1)
    assert [find(long), find(long)] == [2, 3]
    for number in range(TEXTS):
        find(f"other{number}")
    before = len(asked)
    find("a")
    assert len(asked) == before + 1  # forgotten


def test_few_headers_are_kept_and_no_long_ones() -> None:
    asked: list[Headers] = []

    def names(headers: Headers) -> list[bytes]:
        asked.append(headers)
        return [name for name, _ in headers]

    known = remembered_headers(names)
    first = ((b"A", b"1"), (b"B", b"2"))
    equal = ((b"A", b"1"), (b"B", b"2"))[:1] + first[1:]
    assert equal is not first
    assert [known(each) for each in (first, equal, equal, first)] == [[b"A", b"B"]] * 4
    assert len(asked) == 1
    assert known(((b"A", b"12"), (b"B", b""))) == [b"A", b"B"]
    assert len(asked) == 2
    long = ((b"A", b"x" * HEADERS_BYTES),)
    assert known(long) == known(long) == [b"A"]
    assert len(asked) == 4
    for number in range(HEADERS):
        other = ((b"N", b"%d" % number),)
        assert known(other) is known(other) is known(other)
    before = len(asked)
    known(first)
    assert len(asked) == before + 1


def test_heads_are_kept_when_they_come_again_and_few_of_them() -> None:
    heads = Heads[int]()
    key, length = split(b"\r\nHost: x\r\nContent-Length: 17\r\nA: b\r\n\r\n")
    assert (key, length) == ((b"\r\nHost: x\r\nContent-Length: ", b"\r\nA: b\r\n\r\n"), 17)
    assert not heads.comes_again(key)
    assert heads.get(key) is None
    assert heads.comes_again(key)
    heads.keep(key, 5)
    assert heads.get(split(b"\r\nHost: x\r\nContent-Length: 1\r\nA: b\r\n\r\n")[0]) == 5
    for number in range(KEPT):
        heads.comes_again((b"%d" % number, b""))
    assert heads.get(key) is None
    assert HEAD_BYTES * KEPT < 2**20


def test_a_head_without_a_number_is_no_head_with_one() -> None:
    """Of an empty Content-Length nothing may be taken for what is around the digits of another."""
    with_one, _ = split(b"\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
    without, none = split(b"\r\nHost: x\r\nContent-Length: \r\n\r\n")
    assert none is None
    assert with_one != without


def test_only_what_is_written_in_the_one_way_is_plain() -> None:
    key, length = split(b"\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
    read = [(b"Host", b"x"), (b"Content-Length", b"3")]
    assert plain(key, length, read)
    assert not plain(key, length, [*read, (b"A", b"b")])
    spaced, length = split(b"\r\nHost:  x\r\nContent-Length: 3\r\n\r\n")
    assert not plain(spaced, length, read)
    zeroed, length = split(b"\r\nHost: x\r\nContent-Length: 03\r\n\r\n")
    assert not plain(zeroed, length, [(b"Host", b"x"), (b"Content-Length", b"03")])
