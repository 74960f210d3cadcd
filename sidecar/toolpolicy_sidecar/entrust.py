"""What a trusted tool is sent: the values in the place of their tokens. It comes after the redaction of the request,
which leaves tokens alone.
"""

import base64
import binascii
import re
from typing import NamedTuple

import msgspec

from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.redact import document
from toolpolicy_sidecar.redact.encoding import decode
from toolpolicy_sidecar.redact.headers import ChosenHeaders
from toolpolicy_sidecar.redact.redactor import Unscannable
from toolpolicy_sidecar.redact.tokens import Session
from toolpolicy_sidecar.upstream.headers import Header

_ILLEGAL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FROM_AGENT = ("arguments", "inputResponses")


class HttpParts(NamedTuple):
    path: str
    query: str | None
    headers: tuple[Header, ...]
    body: bytes


def http_request(  # noqa: PLR0917 -- the parts of a request
    session: Session,
    parts: HttpParts,
    chosen: ChosenHeaders | None,
    kind: str,
    encoding: str,
    limit_bytes: int,
) -> HttpParts:
    """`chosen`: headers that the policy redacts. `kind` and `encoding`: of the body. One that cannot be decoded goes
    on as it is."""
    path, query, headers, body = parts
    headers = _headers(session, headers, chosen)
    path = session.path(path)
    query = session.query(query) if query else query
    if not body:
        return HttpParts(path, query, headers, body)
    try:
        plain = decode(body, encoding, limit_bytes)
    except Unscannable:
        return HttpParts(path, query, headers, body)
    left = _body(session, plain, kind.partition(";")[0].strip().lower())
    if left != plain:
        body = left
        headers = tuple(header for header in headers if header[0].lower() != b"content-encoding")
    return HttpParts(path, query, headers, body)


def mcp_request(
    session: Session, body: bytes, headers: tuple[Header, ...], chosen: ChosenHeaders | None
) -> tuple[bytes, tuple[Header, ...]]:
    """Arguments, answers to the server's questions, the headers that mirror arguments, and those that the policy
    redacts."""
    headers = _headers(session, headers, chosen)
    members = jsonrpc.members_of(body) or {}
    params = jsonrpc.members_of(members.get("params", msgspec.UNSET)) or {}
    changed = False
    for name in _FROM_AGENT:
        if name in params:
            raw = bytes(params[name])
            left = session.json(raw)
            if left is not raw:
                params[name], changed = msgspec.Raw(left), True
    if not changed:
        return body, headers
    members["params"] = msgspec.Raw(msgspec.json.encode(params))
    mirrored = tuple(
        (name, _mirror(session, value) if name[:10].lower() == b"mcp-param-" else value)
        for name, value in headers
    )
    return msgspec.json.encode(members), mirrored


def _headers(
    session: Session, headers: tuple[Header, ...], chosen: ChosenHeaders | None
) -> tuple[Header, ...]:
    """A value that no header may hold (RFC 9110, 5.5) stays a token."""
    if not chosen:
        return headers
    left: list[Header] = []
    for name, value in headers:
        plain = session.text(value) if chosen.has(name.lower()) else value
        left.append((name, value if _ILLEGAL.search(plain) else plain))
    return tuple(left)


def _body(session: Session, plain: bytes, kind: str) -> bytes:
    if kind == "application/x-www-form-urlencoded":
        return session.query(plain.decode("latin-1")).encode("latin-1")
    return session.json(plain) if _is_json(plain) else session.text(plain)


def _is_json(text: bytes) -> bool:
    """What only looks like it, or says so, is a text: redaction has let it pass as one, or unread."""
    try:
        document.check(text)
    except Unscannable:
        return False
    return True


def _mirror(session: Session, value: bytes) -> bytes:
    wrapped = value.startswith(b"=?base64?") and value.endswith(b"?=")
    try:
        text = base64.b64decode(value[9:-2], validate=True) if wrapped else value
    except binascii.Error:
        return value
    left = session.text(text)
    if left == text:
        return value
    if wrapped or not (left.isascii() and left.decode().isprintable()):
        return b"=?base64?" + base64.b64encode(left) + b"?="
    return left
