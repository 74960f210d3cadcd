"""The bytes of a request in front of its body."""

from toolpolicy_sidecar.remembered import remembered_headers
from toolpolicy_sidecar.upstream.exchange import Request
from toolpolicy_sidecar.upstream.failure import UnsendableRequest
from toolpolicy_sidecar.upstream.headers import HOP_BY_HOP, Header, end_to_end

_NOT_SENT_ON = HOP_BY_HOP | {b"host", b"expect", b"content-length"}
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


def request_head(request: Request, authority: bytes) -> bytes:
    """Host first; Content-Length by what is sent, or as it is known of a streamed body. Raises UnsendableRequest."""
    method, body = request.method, request.body
    words = method.encode("ascii"), request.target.encode("ascii"), authority
    first = b"%b %b HTTP/1.1\r\nHost: %b" % words
    _refuse_unsendable(first, 1)
    own = request.added
    if body is None or isinstance(body, bytes):
        if body or (body is not None and method not in _BODILESS):
            own += b"\r\nContent-Length: %d" % len(body)
    elif request.length is not None:
        own += b"\r\nContent-Length: %d" % request.length
    else:
        own += b"\r\nTransfer-Encoding: chunked"
    if request.switch_to is not None:
        own += b"\r\nConnection: Upgrade\r\nUpgrade: websocket"
    return b"%b%b%b\r\n\r\n" % (first, _lines(request.headers), own)


@remembered_headers
def _lines(headers: tuple[Header, ...]) -> bytes:
    """Raises UnsendableRequest."""
    lines = [b"\r\n%b: %b" % header for header in end_to_end(headers, _NOT_SENT_ON)]
    text = b"".join(lines)
    _refuse_unsendable(text, len(lines))
    return text


def _refuse_unsendable(text: bytes, lines: int) -> None:
    """So many lines end in it. Raises UnsendableRequest when one of them holds another."""
    if text.count(b"\r") != lines or text.count(b"\n") != lines or 0 in text:
        raise UnsendableRequest("a header or the target holds CR, LF or NUL")
