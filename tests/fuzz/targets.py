"""What must hold of each parser that reads untrusted bytes, whatever the bytes are.

A target takes bytes and raises AssertionError, or anything that its parser must not raise. `tokens` are what its input
is likely made of. Hypothesis tries them in the unit tests, atheris (`make fuzz`) looks for new paths by coverage.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, cast
from urllib.parse import unquote_to_bytes, urlsplit

import h11
from msgspec import UNSET

from tests.fuzz import listening
from toolpolicy_sidecar import destination, target
from toolpolicy_sidecar.destination import Destination
from toolpolicy_sidecar.heads import Heads
from toolpolicy_sidecar.mcp import jsonrpc, sse
from toolpolicy_sidecar.mcp.answer import answer_to
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.redact.encoding import decode
from toolpolicy_sidecar.redact.expression import Bounds
from toolpolicy_sidecar.redact.verdict import Unscannable
from toolpolicy_sidecar.upstream.answer_head import AnswerHead
from toolpolicy_sidecar.upstream.connection import Connection
from toolpolicy_sidecar.upstream.exchange import Request
from toolpolicy_sidecar.upstream.failure import UnsendableRequest, UpstreamFailure
from toolpolicy_sidecar.upstream.origin import Origin

ORIGIN = Origin("http", "127.0.0.1", 80)
LIMIT_BYTES = 4096


class Target(NamedTuple):
    run: Callable[[bytes], None]
    tokens: tuple[bytes, ...]
    seeds: tuple[bytes, ...] = ()
    """Whole inputs to begin with."""


def request_target(data: bytes) -> None:
    """What passes has one form, and no reading of it leads upwards or to another segment."""
    found = target.read(data.decode("latin-1"))
    if isinstance(found, Problem):
        return
    assert target.canonical(found.path) == found.path
    segments = unquote_to_bytes(found.path).split(b"/")
    assert len(segments) == found.path.count("/") + 1
    assert not {b".", b".."} & set(segments)
    assert b"" not in segments[1:-1]
    assert not set(found.path) & set("\\;#? \0\r\n")
    assert (found.query or "").isascii()


def absolute_form(data: bytes) -> None:
    """The host that is dialled is the one that another parser reads."""
    raw = data.decode("latin-1")
    found = destination.of_absolute_form(raw)
    if isinstance(found, Destination):
        assert found.target.startswith("/")
        assert not set(found.target) & set(" \r\n\0#")
        other = urlsplit(raw)
        assert other.username is None
        scheme = {"ws": "http", "wss": "https"}.get(other.scheme, other.scheme)
        port = other.port or {"http": 80, "https": 443}[scheme]
        assert found.origin == Origin(scheme, destination.canonical_host(other.hostname or "") or "", port)
        assert destination.canonical_host(found.origin.host) == found.origin.host
    authority = destination.of_authority_form(raw)
    if not isinstance(authority, Problem):
        assert destination.canonical_host(authority[0]) == authority[0]


def sent_request(data: bytes) -> None:
    """What the pool writes is one request, whatever is in its headers."""
    fields = data.split(b"\xff")
    headers = tuple((name, value) for name, _, value in (field.partition(b"\xfe") for field in fields[2:]))
    method, place = (fields[0] or b"GET").decode("latin-1"), b"/" + (fields[1] if len(fields) > 1 else b"")
    body = b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
    written = _Wire()
    try:
        request = Request(ORIGIN, method, place.decode("latin-1"), headers, body)
        _LOOP.run_until_complete(_begun(written, request))
    except (UnsendableRequest, UnicodeEncodeError):
        assert not written.data
        return
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(bytes(written.data))
    try:
        events = [reader.next_event() for _ in range(3)]
    except h11.RemoteProtocolError:
        return  # refused whole
    assert isinstance(events[0], h11.Request)
    assert isinstance(events[1], h11.Data)
    assert bytes(events[1].data) == body
    assert isinstance(events[2], h11.EndOfMessage)


def response(data: bytes) -> None:
    """An answer or a failure with a name, the same however it is cut, and whatever heads came before."""
    whole = _LOOP.run_until_complete(_answer([data]))
    step = 1 + len(data) % 7
    assert (
        _LOOP.run_until_complete(_answer([data[at : at + step] for at in range(0, len(data), step)])) == whole
    )
    heads = Heads[AnswerHead]()
    half = [data[: len(data) // 2], data[len(data) // 2 :]]
    for pieces in ([data], [data], [data], half):
        assert _LOOP.run_until_complete(_answer(pieces, heads)) == whole


def switched(data: bytes) -> None:
    """To whom a WebSocket was asked of: it agrees, and what it says then goes to who asked; or as any answer."""
    whole = _LOOP.run_until_complete(_answer([data], asks=True))
    step = 1 + len(data) % 7
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    assert _LOOP.run_until_complete(_answer(pieces, asks=True)) == whole
    if isinstance(whole, _Switched):
        assert whole.status == 101
        assert data.endswith(b"\r\n" + whole.said)


def message(data: bytes) -> None:
    """What goes on to the server says the same to those who take the first of two members and the last."""
    try:
        read = jsonrpc.read(data)
        going = jsonrpc.unambiguous(data, _arguments(data, read))
    except jsonrpc.Malformed:
        return
    again = jsonrpc.read(going)
    going.decode()
    first, last = (_members(going, pick) for pick in (_first, dict))
    if first is None or last is None:
        return
    for one in (first, last):
        assert one.get("method") == (None if again.method is UNSET else again.method)
        params = one.get("params")
        if isinstance(params, dict) and jsonrpc.name_of(again) is not None:
            assert params["name"] == jsonrpc.name_of(again)
    params = (_members(going, _counted) or {}).get("params")
    assert not isinstance(params, dict) or params[_COUNT] < 2
    if not isinstance(last.get("id"), dict | list):  # which is none, and refused where it matters
        assert first.get("id") == last.get("id")
    with suppress(jsonrpc.Malformed):
        jsonrpc.identifier(again)
        jsonrpc.call_params(again)
    answer, whole = answer_to(data, b"1"), _members(data, dict)
    if answer is not None and answer.final and whole is not None:
        result = whole.get("result")
        flagged = isinstance(result, dict) and result.get("isError") is True
        assert answer.tool_error == ("error" in whole or flagged)


def _arguments(data: bytes, read: jsonrpc.Message) -> Bounds | None:
    try:
        return jsonrpc.place(data, jsonrpc.call_params(read).arguments)
    except jsonrpc.Malformed:
        return None


def events(data: bytes) -> None:
    """However the stream is cut, the same events, and no byte lost or added."""
    whole, kept = _split([data])
    cut, kept_of_cut = _split([data[at : at + 3] for at in range(0, len(data), 3)])
    assert b"".join(event.raw for event in whole) + kept == data
    assert b"".join(event.raw for event in cut) + kept_of_cut == data
    assert [event.data for event in whole if event.data is not None] == [
        event.data for event in cut if event.data is not None
    ]


def encoded(data: bytes) -> None:
    """Never more than the limit, and nothing but a verdict."""
    name = ("gzip", "deflate", "identity")[data[0] % 3] if data else "gzip"
    with suppress(Unscannable):
        assert len(decode(data[1:], name, LIMIT_BYTES)) <= LIMIT_BYTES


class _Wire(asyncio.Transport):
    """A socket that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.closed = False
        self.protocol = asyncio.Protocol()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Everything is taken at once."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast("asyncio.Protocol", protocol)

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """There is nothing to pause."""

    resume_reading = pause_reading


async def _begun(wire: _Wire, request: Request) -> None:
    """Raises what cannot be sent."""
    connection = Connection(ORIGIN, lambda _: None, lambda _: None)
    connection.connection_made(wire)
    connection.begin(request).cancel()


class _Switched(NamedTuple):
    status: int
    said: bytes


class _Other(asyncio.Protocol):
    """Has a connection after a 101."""

    def __init__(self) -> None:
        self.said = b""

    def data_received(self, data: bytes) -> None:
        self.said += data


async def _answer(
    pieces: list[bytes], heads: Heads[AnswerHead] | None = None, *, asks: bool = False
) -> object:
    """`heads`: that came before. `asks`: for a WebSocket."""
    connection, wire, other = Connection(ORIGIN, lambda _: None, lambda _: None, heads), _Wire(), _Other()
    wire.set_protocol(connection)
    connection.connection_made(wire)
    asking = connection.begin(Request(ORIGIN, "GET", "/", (), switch_to=other if asks else None))
    for piece in pieces:
        if wire.closed or (connection._complete and wire.protocol is not other):
            break
        wire.protocol.data_received(piece)
    wire.protocol.connection_lost(None)
    try:
        got = await asking
        if wire.protocol is other:
            return _Switched(got.status, other.said)
        return got.status, got.headers, await got.body(2**20)
    except UpstreamFailure:
        return "failed"


def _members(data: bytes, pick: Callable[[list[tuple[str, Any]]], dict[str, Any]]) -> dict[str, Any] | None:
    """None: the standard library cannot read it."""
    try:
        found = json.loads(data, object_pairs_hook=pick)
    except (RecursionError, ValueError):
        return None
    return found if isinstance(found, dict) else {}


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _counted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {**dict(pairs), _COUNT: [name for name, _ in pairs].count("arguments")}


def _split(pieces: list[bytes]) -> tuple[list[sse.Event], bytes]:
    splitter = sse.Splitter(2**20)
    found = [event for piece in pieces for event in splitter.feed(piece)]
    return [*found, *splitter.end()], splitter.rest()


_LOOP = asyncio.new_event_loop()
_COUNT = "how many arguments"

_HEAD = (
    b"HTTP/1.1 200 OK\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n",
    b": ",
)
TARGETS = {
    "requests": Target(listening.requests, listening.TOKENS, listening.SEEDS),
    "request_target": Target(
        request_target,
        (
            b"/",
            b"..",
            b".",
            b"%2e",
            b"%2F",
            b"%5c",
            b"\\",
            b";",
            b"?",
            b"#",
            b"%00",
            b"//",
            b"a",
            b"%41",
            b"%",
            b"~",
        ),
    ),
    "absolute_form": Target(
        absolute_form,
        (
            b"http://",
            b"HTTPS://",
            b"ws://",
            b"a",
            b".",
            b"@",
            b":",
            b"80",
            b"[",
            b"]",
            b"::1",
            b"/",
            b"127.1",
            b"0x7f",
            b"\\",
            b"#",
            b"?",
            b"%41",
            b"xn--",
        ),
    ),
    "sent_request": Target(
        sent_request,
        (
            b"\xff",
            b"\xfe",
            b"GET",
            b"/",
            b"\r\n",
            b"\n",
            b"\0",
            b"Content-Length",
            b"Transfer-Encoding",
            b"chunked",
            b"3",
            b"Connection",
            b"Host",
            b"x",
            b" ",
            b",",
            b"Upgrade",
        ),
    ),
    "response": Target(
        response,
        (
            *_HEAD,
            b"3",
            b"0",
            b"abc",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 204 N\r\n",
            b"HTTP/1.0 200 OK\r\n",
            b"Connection: close\r\n",
            b"X: y\r\n",
            b";a=b",
        ),
    ),
    "switched": Target(
        switched,
        (
            b"HTTP/1.1 101 S\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 403 F\r\n",
            b"Upgrade: websocket\r\n",
            b"Connection: upgrade\r\n",
            b"Content-Length: 3\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"X: y\r\n",
            b"\r\n",
            b"abc",
            b"\r",
        ),
        (b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nabc",),
    ),
    "message": Target(
        message,
        (
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b'"method"',
            b'"params"',
            b'"name"',
            b'"id"',
            b'"tools/call"',
            b'"a"',
            b'"\\u006eame"',
            b'"m\\u0065thod"',
            b"1",
            b"null",
            b"1e400",
            b"\xef\xbb\xbf",
            b'{"method":"tools/call","id":1,"params":{"name":"a"}}',
        ),
    ),
    "events": Target(
        events,
        (
            b"data: ",
            b"data",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"id: 1",
            b": hi",
            b"\xef\xbb\xbf",
            b"event: x",
            b"abc",
        ),
    ),
    "encoded": Target(
        encoded,
        (
            b"\x00",
            b"\x01",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
            b"\x78\x9c",
            b"\x03\x00",
            b"\x4b\x04\x00",
            b"\x00" * 8,
        ),
    ),
}
