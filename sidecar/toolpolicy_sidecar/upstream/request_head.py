"""The bytes of a request in front of its body."""

from toolpolicy_sidecar.upstream.exchange import Request
from toolpolicy_sidecar.upstream.failure import UnsendableRequest
from toolpolicy_sidecar.upstream.headers import HOP_BY_HOP, end_to_end

_NOT_STREAMED_ON = HOP_BY_HOP | {b"host", b"expect"}
_NOT_SENT_ON = _NOT_STREAMED_ON | {b"content-length"}
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


def request_head(request: Request, authority: bytes) -> bytes:
    """Host first; Content-Length by what is sent, or kept from the caller for a streamed body.
    Raises UnsendableRequest."""
    method, body = request.method, request.body
    lines = [
        b"%b %b HTTP/1.1\r\nHost: %b" % (method.encode("ascii"), request.target.encode("ascii"), authority)
    ]
    if body is None or isinstance(body, bytes):
        lines += map(b": ".join, end_to_end(request.headers, _NOT_SENT_ON))
        if body or (body is not None and method not in _BODILESS):
            lines.append(b"Content-Length: %d" % len(body))
    else:
        lines += map(b": ".join, end_to_end(request.headers, _NOT_STREAMED_ON))
        if chunked(request):
            lines.append(b"Transfer-Encoding: chunked")
    if request.switch_to is not None:
        lines += (b"Connection: Upgrade", b"Upgrade: websocket")
    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    _refuse_unsendable(head, len(lines) + 1)
    return head


def chunked(request: Request) -> bool:
    """Of a streamed body."""
    return not any(name.lower() == b"content-length" for name, _ in request.headers)


def _refuse_unsendable(head: bytes, lines: int) -> None:
    """`head` is made of so many lines, each with its end. Raises UnsendableRequest when one of them holds another."""
    if head.count(b"\r") != lines or head.count(b"\n") != lines or 0 in head:
        raise UnsendableRequest("a header or the target holds CR, LF or NUL")
