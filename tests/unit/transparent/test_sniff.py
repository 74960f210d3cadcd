"""What a connection is by its first bytes, however they come."""

import ssl

import pytest

from toolpolicy_sidecar.listeners.sniff import OTHER, Sniffed, sniff


def hello(name: str | None) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


GET = b"GET /x?y HTTP/1.1\r\nAccept: */*\r\nhOsT: \t kb.internal:8080 \r\nX: Host: no\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "is_"),
    [
        (hello("kb.internal"), Sniffed("Tls", "kb.internal")),
        (hello(None), Sniffed("Tls", "")),
        (GET, Sniffed("Http", "kb.internal:8080")),
    ],
    ids=["tls", "tls without a name", "http"],
)
def test_the_first_bytes_tell_as_soon_as_they_are_there(data: bytes, is_: Sniffed) -> None:
    assert sniff(data) == is_
    for length in (*range(12), len(data) // 2, len(data) - 1):
        assert sniff(data[:length]) is None
    assert sniff(data + b"\x00more") == is_


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"get / HTTP/1.1\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + b"x" * 64,
        b"\x16nonsense",
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    ],
)
def test_anything_else_is_neither(data: bytes) -> None:
    assert sniff(data) == OTHER


def test_a_request_without_host_goes_to_nobody() -> None:
    assert sniff(b"GET / HTTP/1.0\r\n\r\n") == Sniffed("Http", "")
