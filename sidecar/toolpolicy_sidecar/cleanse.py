"""Redaction of a call's request and of its answer. Pure; the policy says what to do with what cannot be read."""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter
from typing import NamedTuple

from toolpolicy_sidecar.mcp import sse
from toolpolicy_sidecar.mcp.answer import Answer
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.redact import headers as chosen
from toolpolicy_sidecar.redact import message
from toolpolicy_sidecar.redact.encoding import decode
from toolpolicy_sidecar.redact.event import beside
from toolpolicy_sidecar.redact.expression import Bounds
from toolpolicy_sidecar.redact.headers import RedactedHeaders
from toolpolicy_sidecar.redact.redactor import Blocked, Redacted, Redactor, Unscannable
from toolpolicy_sidecar.redact.stream import EventStream, TextStream
from toolpolicy_sidecar.redact.verdict import TooCostly, TooDeep, TooLarge, UnknownEncoding, Unparsable
from toolpolicy_sidecar.remembered import remembered_headers
from toolpolicy_sidecar.upstream.headers import Header

ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_UNDECODABLE = "its Content-Encoding is none of gzip and deflate"
_TEXT = ("text/", "application/xml", "application/yaml", "application/javascript", "application/x-ndjson")
_NOT_AS_ASCII = re.compile(r"charset=\"?(?:utf|ucs)[-_]?(?:7|16|32|2|4)(?![0-9])")
"""In these an ASCII text is not written in the bytes of ASCII."""
_QUOTED = re.compile(r'"[^"]*"')
_OF_BYTES = frozenset({b"content-encoding", b"content-md5", b"digest", b"content-digest", b"repr-digest"})
"""Content-Length is not among them: whoever sends a body writes its own."""
_NO_HITS: Mapping[str, int] = {}


class _Ends(NamedTuple):
    """Why something does not pass: what is in it, or that it cannot be read."""

    blocked: Reason
    unscannable: Mapping[type[Unscannable], Reason]


_REQUEST = _Ends(
    Reason.RequestBlocked,
    {
        Unscannable: Reason.RequestUnscannable,
        UnknownEncoding: Reason.UnsupportedEncoding,
        Unparsable: Reason.RequestUnparsable,
        TooDeep: Reason.RequestTooDeep,
        TooLarge: Reason.BodyTooLarge,
        TooCostly: Reason.RequestTooCostly,
    },
)
_ANSWER = _Ends(
    Reason.AnswerBlocked,
    {
        Unscannable: Reason.AnswerUnscannable,
        UnknownEncoding: Reason.AnswerEncodingUnsupported,
        Unparsable: Reason.AnswerUnparsable,
        TooDeep: Reason.AnswerTooDeep,
        TooLarge: Reason.AnswerTooLarge,
        TooCostly: Reason.AnswerTooCostly,
    },
)


class HttpRequest(NamedTuple):
    """What may be sent to an HTTP tool."""

    path: str
    query: str | None
    headers: tuple[Header, ...]
    body: bytes
    hits: Mapping[str, int]


def http_request(  # noqa: PLR0917 -- the parts of a request
    redactor: Redactor,
    path: str,
    query: str | None,
    headers: tuple[Header, ...],
    body: bytes,
    kind: str,
    encoding: str,
    limit_bytes: int,
) -> HttpRequest:
    """Every segment of the path, the query's words, the headers that are chosen, and the body. Raises Stopped."""
    try:
        if encoding and encoding.strip().lower() not in ENCODINGS:
            raise UnknownEncoding(_UNDECODABLE)
        clean_path = redactor.path(path)
        clean_query = redactor.query(query) if query else None
        clean_headers = chosen.redacted(redactor, headers) if redactor.headers else None
        clean_body = _body(redactor, decode(body, encoding, limit_bytes), kind) if body else None
    except (Blocked, Unscannable) as verdict:
        _or_stop(redactor, verdict, _REQUEST)
        return HttpRequest(path, query, headers, body, _NO_HITS)
    hits = clean_path.hits
    if clean_query is not None:
        query, hits = clean_query.value, _both(hits, clean_query.hits)
    if clean_headers is not None:
        headers, hits = clean_headers.headers, _both(hits, clean_headers.hits)
    if clean_body is not None and clean_body.hits:
        body, hits = clean_body.value, _both(hits, clean_body.hits)
        if encoding:
            headers = without(headers, b"content-encoding")
    return HttpRequest(clean_path.value, query, headers, body, hits)


def mcp_request(
    redactor: Redactor, body: bytes, headers: tuple[Header, ...], arguments: Bounds | None = None
) -> tuple[bytes, tuple[Header, ...], Mapping[str, int]]:
    """Arguments, answers to the server's questions, the headers that mirror arguments, and those that are chosen.
    `arguments`: where they stand, if that is certain. Raises Stopped."""
    try:
        if not redactor.headers:
            return message.asked(redactor, body, headers, arguments)
        left, in_headers = chosen.redacted(redactor, headers)
        body_left, left, hits = message.asked(redactor, body, left, arguments)
    except (Blocked, Unscannable) as verdict:
        _or_stop(redactor, verdict, _REQUEST)
        return body, headers, _NO_HITS
    return body_left, left, _both(hits, in_headers)


def answer_headers(redactor: Redactor, headers: tuple[Header, ...]) -> RedactedHeaders:
    """Those of an answer, with the chosen ones redacted. Raises Stopped."""
    if not redactor.headers:
        return RedactedHeaders(headers, _NO_HITS)
    try:
        return chosen.redacted(redactor, headers)
    except (Blocked, Unscannable) as verdict:
        _or_stop(redactor, verdict, _ANSWER)
        return RedactedHeaders(headers, _NO_HITS)


def mcp_message(
    redactor: Redactor, data: bytes, *, results: bool = True, answer: Answer | None = None
) -> Redacted[bytes]:
    """What a server says: `results`, errors, and the params of its notifications and questions. `answer`: what was
    read of it already. Raises Stopped."""
    contents = () if answer is None else answer.contents
    try:
        return message.said(redactor, data, results=results, contents=contents)
    except (Blocked, Unscannable) as verdict:
        _or_stop(redactor, verdict, _ANSWER)
        return Redacted(data, _NO_HITS)


def http_answer(redactor: Redactor, body: bytes, kind: str) -> Redacted[bytes]:
    """A decoded body. Raises Stopped."""
    try:
        return _body(redactor, body, kind)
    except (Blocked, Unscannable) as verdict:
        _or_stop(redactor, verdict, _ANSWER)
        return Redacted(body, _NO_HITS)


def http_event(redactor: Redactor, data: bytes) -> Redacted[bytes]:
    """An event's data from an HTTP tool: JSON if it reads as JSON, else text. Raises Stopped."""
    return http_answer(redactor, data, "")


def beside_data(redactor: Redactor, event: sse.Event, raw: bytes) -> Redacted[bytes]:
    """An event with its lines beside the data redacted; `raw`: as it is by now. Raises Stopped."""
    try:
        return beside(redactor, event, raw)
    except (Blocked, Unscannable) as verdict:
        _or_stop(redactor, verdict, _ANSWER)
        return Redacted(raw, _NO_HITS)


def http_text(
    redactor: Redactor, kind: str, encoding: str, first: bytes, limit_bytes: int
) -> TextStream | None:
    """For a text that is redacted as it comes; None: it must be seen as a whole. `first`: how it begins."""
    kind, _, parameters = kind.lower().partition(";")
    kind, charset = kind.strip(), parameters.replace('"', "").replace(" ", "")
    if not kind.startswith(_TEXT) or charset not in {"", "charset=utf-8", "charset=us-ascii"}:
        return None
    whole = redactor.blocks or encoding.strip().lower() not in {"", "identity"}
    if whole or first.lstrip(b" \t\r\n")[:1] in {b"", b"{", b"[", b'"'}:  # it may be one document
        return None
    return TextStream(redactor, limit_bytes)


def http_events(redactor: Redactor, limit_bytes: int) -> EventStream:
    return EventStream(redactor, partial(http_event, redactor), limit_bytes)


def step(
    redactor: Redactor, stream: TextStream | EventStream, scan: Callable[[], Redacted[bytes]]
) -> Redacted[bytes]:
    """What may go on. Raises Stopped; what cannot be read goes on as it came where the policy says so."""
    try:
        return scan()
    except (Blocked, Unscannable) as verdict:
        _or_stop(redactor, verdict, _ANSWER)
        return Redacted(stream.given_up(), _NO_HITS)


def _both(hits: Mapping[str, int], others: Mapping[str, int]) -> Mapping[str, int]:
    return Counter(hits) + Counter(others) if hits and others else hits or others


def _or_stop(redactor: Redactor, verdict: Blocked | Unscannable, ends: _Ends) -> None:
    """Raises Stopped, but not where the policy lets pass what cannot be read."""
    if isinstance(verdict, Blocked):
        raise Stopped(Problem(ends.blocked, f"it holds {verdict}")) from None
    if redactor.on_unscannable == "Refuse":
        raise Stopped(Problem(ends.unscannable[type(verdict)], str(verdict))) from None


def plain(body: bytes, encoding: str, limit_bytes: int, redactor: Redactor | None = None) -> bytes | None:
    """An answer without its Content-Encoding; None: it cannot be decoded. Raises Stopped beyond the limit, and for all
    that `redactor` does not let pass unread."""
    try:
        return decode(body, encoding, limit_bytes)
    except Unscannable as error:
        refused = isinstance(error, TooLarge) if redactor is None else redactor.on_unscannable == "Refuse"
        if refused:
            raise Stopped(Problem(_ANSWER.unscannable[type(error)], str(error))) from None
        return None


class Inflater:
    """Undoes the Content-Encoding of a stream as it comes; no step gives more than the limit. Raises Stopped."""

    def __init__(self, encoding: str, limit_bytes: int) -> None:
        name = encoding.strip().lower()
        self._limit_bytes = limit_bytes
        self._decoder = None
        if name in {"gzip", "x-gzip"}:
            self._decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
        elif name == "deflate":
            self._decoder = zlib.decompressobj(zlib.MAX_WBITS)
        elif name not in {"", "identity"}:
            raise Stopped(Problem(Reason.AnswerEncodingUnsupported, _UNDECODABLE))

    @property
    def idle(self) -> bool:
        return self._decoder is None

    def feed(self, piece: bytes) -> bytes:
        if self._decoder is None:
            return piece
        try:
            out = self._decoder.decompress(piece, self._limit_bytes)
        except zlib.error:
            raise Stopped(Problem(Reason.MalformedAnswer, "its Content-Encoding is broken")) from None
        if self._decoder.unconsumed_tail:
            text = f"a piece of it is over {self._limit_bytes} bytes when decoded"
            raise Stopped(Problem(Reason.AnswerTooLarge, text))
        return out


def without(headers: tuple[Header, ...], *names: bytes) -> tuple[Header, ...]:
    lengths = [*map(len, names)]  # cheaper to compare: most headers are none of these
    return tuple([each for each in headers if len(each[0]) not in lengths or each[0].lower() not in names])


_NAME = itemgetter(0)


def of_changed_body(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    """Headers that say nothing about the bytes of the body."""
    names = [*map(bytes.lower, map(_NAME, headers))]
    if _OF_BYTES.isdisjoint(names):
        return headers
    return tuple([each for each, name in zip(headers, names, strict=True) if name not in _OF_BYTES])


@remembered_headers
def asking_for_plain(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    """Asks for an answer that can be read."""
    return (*without(headers, b"accept-encoding"), (b"Accept-Encoding", b"identity"))


def _body(redactor: Redactor, body: bytes, content_type: str) -> Redacted[bytes]:
    """By its declared type; what declares none is JSON when it reads as JSON, else text. Raises Unscannable."""
    if not body:
        return Redacted(body, _NO_HITS)
    if content_type == "application/json":
        return redactor.document(body)
    if "," in content_type and "," in _QUOTED.sub("", content_type):
        raise Unscannable("several content types")
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return redactor.document(body)
    if kind == "application/x-www-form-urlencoded":
        return redactor.form(body)
    if kind and not kind.startswith(_TEXT):
        raise Unscannable(f"content type {kind[:64]!r}")
    try:
        return redactor.document(body)
    except Unparsable:
        if _NOT_AS_ASCII.search(parameters.lower()):
            raise Unparsable("text in UTF-7, UTF-16 or UTF-32") from None
        return _text(redactor, body, "latin-1" if "8859-1" in parameters else "utf-8")


def _text(redactor: Redactor, body: bytes, charset: str) -> Redacted[bytes]:
    try:
        found = redactor.text(body.decode(charset))
        return Redacted(found.value.encode(charset), found.hits) if found.hits else Redacted(body, _NO_HITS)
    except UnicodeError:
        raise Unparsable("text that is not in its charset") from None
