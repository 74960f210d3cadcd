"""What a connection is by its first bytes: TLS to a name, HTTP to a host, or something else. Pure."""

import re
import ssl
from typing import Literal, NamedTuple

_METHOD = re.compile(rb"[A-Z-]{1,24}")
_HEAD_LINE = re.compile(rb"[A-Z-]{1,24} [!-~]+ HTTP/1\.[01]\r\n")
_HOST = re.compile(rb"\r\nhost:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)
_HANDSHAKE = 0x16


class Sniffed(NamedTuple):
    """`host`: of SNI, or the Host header as it is written; "" when there is none."""

    kind: Literal["Tls", "Http", "Other"]
    host: str = ""


OTHER = Sniffed("Other")


def sniff(data: bytes) -> Sniffed | None:
    """None: more is needed to tell. What follows is read again by those who serve it: nothing rests on this alone."""
    if not data:
        return None
    return _tls(data) if data[0] == _HANDSHAKE else _http(data)


def _tls(data: bytes) -> Sniffed | None:
    """OpenSSL reads the ClientHello, so that nobody reads it in another way."""
    asked: list[str | None] = []

    def stop(_socket: object, name: str | None, _context: object) -> int:
        asked.append(name)
        return ssl.ALERT_DESCRIPTION_CLOSE_NOTIFY

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = stop
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(data)
    try:
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        return None
    except ssl.SSLError:
        return Sniffed("Tls", asked[0] or "") if asked else OTHER
    return OTHER


def _http(data: bytes) -> Sniffed | None:
    first, end, _ = data.partition(b"\r\n")
    if not end:
        method, space, _ = first.partition(b" ")
        return None if _METHOD.fullmatch(method) and (space or len(first) <= 24) else OTHER
    if not _HEAD_LINE.match(data):
        return OTHER
    head, whole, _ = data.partition(b"\r\n\r\n")
    if not whole:
        return None
    host = _HOST.search(head + b"\r\n")
    return Sniffed("Http", host[1].decode("latin-1") if host else "")
