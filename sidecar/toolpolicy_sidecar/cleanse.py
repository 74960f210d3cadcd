"""Redaction of a call's request and of its answer. Pure; what cannot be read goes by the policy's word."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from toolpolicy_sidecar.call import Incoming, ToolCall
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.redact.encoding import TooLarge, decode
from toolpolicy_sidecar.redact.redactor import Redacted, Redactor, Unscannable
from toolpolicy_sidecar.render import Problem
from toolpolicy_sidecar.upstream.headers import Header

_TEXT = ("text/", "application/xml", "application/yaml", "application/javascript", "application/x-ndjson")


class Unclean(Exception):  # noqa: N818 -- names what happened
    """The request or answer must not go on."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Cleansed(NamedTuple):
    path: str
    query: str
    headers: tuple[Header, ...]
    body: bytes
    hits: Mapping[str, int]


def request(call: ToolCall, limit_bytes: int) -> Cleansed:
    """What may be sent to the tool. Raises Unclean."""
    incoming, redactor = call.incoming, call.tool.redactor
    path, query, headers, body = incoming.path, incoming.query, incoming.headers, incoming.body
    if redactor is None or not redactor.on_request:
        return Cleansed(path, query, headers, body, {})
    hits = Counter[str]()
    encoding = incoming.text_header(b"content-encoding")
    try:
        if encoding:
            body = decode(body, encoding, limit_bytes)
            headers = tuple(header for header in headers if header[0].lower() != b"content-encoding")
        if call.mcp is None:
            new_path, new_query = redactor.path(path), redactor.query(query)
            hits.update(new_path.hits)
            hits.update(new_query.hits)
            path, query = new_path.value, new_query.value
        else:
            headers = _parameters(headers, redactor, hits)
        if body:
            kind = "application/json" if call.mcp else incoming.text_header(b"content-type")
            new_body = _body(redactor, body, kind)
            hits.update(new_body.hits)
            body = new_body.value
    except TooLarge:
        raise Unclean(Problem(Reason.BodyTooLarge, f"the decoded body is over {limit_bytes} bytes")) from None
    except Unscannable as error:
        if redactor.on_unscannable == "Refuse":
            raise Unclean(Problem(Reason.RequestUnscannable, str(error))) from None
        return Cleansed(incoming.path, incoming.query, incoming.headers, incoming.body, {})
    return Cleansed(path, query, headers, body, hits)


def answer(
    redactor: Redactor, body: bytes, content_type: str, encoding: str, limit_bytes: int
) -> Redacted[bytes] | None:
    """The decoded, redacted body; None: it cannot be read, and the policy lets it pass as it is. Raises Unclean."""
    try:
        plain = decode(body, encoding, limit_bytes)
        return _body(redactor, plain, content_type) if plain else Redacted(plain, {})
    except TooLarge:
        raise Unclean(
            Problem(Reason.AnswerTooLarge, f"its decoded answer is over {limit_bytes} bytes")
        ) from None
    except Unscannable as error:
        if redactor.on_unscannable == "Refuse":
            raise Unclean(Problem(Reason.AnswerUnscannable, str(error))) from None
        return None


def _body(redactor: Redactor, body: bytes, content_type: str) -> Redacted[bytes]:
    """By its declared type; what declares none is JSON when it reads as JSON, else text."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return redactor.json(body)
    if kind == "application/x-www-form-urlencoded":
        return redactor.form(body)
    if kind and not kind.startswith(_TEXT):
        raise Unscannable(f"content type {kind[:64]!r}")
    try:
        return redactor.json(body)
    except Unscannable:
        return _text(redactor, body)


def _text(redactor: Redactor, body: bytes) -> Redacted[bytes]:
    try:
        found = redactor.text(body.decode())
    except UnicodeDecodeError:
        raise Unscannable("text that is not UTF-8") from None
    return Redacted(found.value.encode(), found.hits)


def _parameters(headers: tuple[Header, ...], redactor: Redactor, hits: Counter[str]) -> tuple[Header, ...]:
    """`Mcp-Param-*` mirror arguments: what is taken out of the body must not stay there."""
    cleaned = []
    for name, value in headers:
        if name.lower().startswith(b"mcp-param-"):
            found = redactor.text(value.decode("latin-1"))
            hits.update(found.hits)
            cleaned.append((name, found.value.encode("latin-1", errors="replace") if found.hits else value))
        else:
            cleaned.append((name, value))
    return tuple(cleaned)


def target(incoming: Incoming, prefix: str, path: str, query: str) -> str:
    """The origin-form target at the tool's server."""
    whole = f"{prefix}{path}" or "/"
    return f"{whole}?{query}" if query or incoming.query else whole
