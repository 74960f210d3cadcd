"""Requests that two servers could read in two ways, and what may come of each.

`{at}` stands for where the listener has the tool's server, `{host}` for its host and port. INNER, in a body, is what must
never become a request of its own.
"""

# ruff: noqa: E501 -- one case a line reads best

from collections.abc import Iterator
from typing import NamedTuple

INNER = b"GET /base/evil HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST {at}/x HTTP/1.1\r\nHost: {host}\r\n"
GET = b"GET {at}/x HTTP/1.1\r\nHost: {host}\r\n"
LONG = INNER + b"x" * 70_000
"""More than is read before the tool is called."""


class Case(NamedTuple):
    """`reaches`: method, target and body of what may reach the tool; none of it: refused with 4xx. `maybe`: refused is as
    good."""

    name: str
    raw: bytes
    reaches: tuple[tuple[str, str, bytes], ...] = ()
    maybe: bool = False


def _one(
    body: bytes = b"", method: str = "POST", target: str = "/base/x"
) -> tuple[tuple[str, str, bytes], ...]:
    return ((method, target, body),)


def _length(value: bytes, body: bytes = b"abc") -> bytes:
    return POST + b"Content-Length: " + value + b"\r\n\r\n" + body


def _coding(line: bytes, body: bytes = b"3\r\nabc\r\n0\r\n\r\n") -> bytes:
    return POST + line + b"\r\n\r\n" + body


def _chunks(body: bytes) -> bytes:
    return _coding(b"Transfer-Encoding: chunked", body)


def _lengths() -> Iterator[Case]:
    yield Case(
        "length and chunks",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    )
    yield Case(
        "chunks and length",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + INNER,
    )
    yield Case("two lengths", POST + b"Content-Length: 3\r\nContent-Length: 40\r\n\r\nabc" + INNER)
    yield Case(
        "the same length twice",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        _one(b"abc"),
        maybe=True,
    )
    yield Case("a list of one length", _length(b"3, 3"), _one(b"abc"), maybe=True)
    for value in (
        b"+3",
        b"-3",
        b"0x3",
        b"3 3",
        b"3,4",
        b"",
        b"3;",
        b"3.0",
        b"1_0",
        b"\xb3",
        b"9" * 30,
        b"'3'",
        b"3\x0b",
        b"3\0",
        b"3e0",
    ):
        yield Case(f"length {value!r}", _length(value))
    yield Case("length with spaces", _length(b"\t 3 \t"), _one(b"abc"), maybe=True)
    yield Case("length with zeros", _length(b"0003"), _one(b"abc"), maybe=True)
    yield Case("a body of GET", GET + b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER, _one(INNER, "GET"))
    yield Case(
        "a body of HEAD",
        GET.replace(b"GET", b"HEAD", 1) + b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER,
        _one(INNER, "HEAD"),
    )
    yield Case(
        "a body of DELETE",
        GET.replace(b"GET", b"DELETE", 1) + b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER,
        _one(INNER, "DELETE"),
    )
    yield Case("a streamed body", _length(b"%d" % len(LONG), LONG), _one(LONG))
    for named in (b"Content-Length", b"close, content-length", b"content-length, keep-alive"):
        for body in (INNER, LONG):
            raw = POST + b"Connection: " + named + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            yield Case(
                f"length of {len(body)} is named by Connection: {named.decode()}", raw, _one(body), maybe=True
            )
    raw = (
        POST
        + b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(LONG), LONG)
    )
    yield Case("chunks are named by Connection", raw, _one(LONG), maybe=True)


def _codings() -> Iterator[Case]:
    for value in (
        b"chunked, chunked",
        b"xchunked",
        b"chunked\x0b",
        b"\x0bchunked",
        b"chunked;q=1",
        b'"chunked"',
        b"chunked, gzip",
        b"chunked, identity",
        b"chun ked",
        b"c\0hunked",
        b"",
        b"\xffchunked",
        b"chunkedd",
    ):
        yield Case(f"coding {value!r}", _coding(b"Transfer-Encoding: " + value))
    for value in (
        b"Chunked",
        b"CHUNKED",
        b" \tchunked\t ",
        b"identity, chunked",
        b"gzip, chunked",
        b",chunked",
        b"chunked,",
    ):
        yield Case(f"coding {value!r}", _coding(b"Transfer-Encoding: " + value), _one(b"abc"), maybe=True)
    yield Case("identity", POST + b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc")
    yield Case("two codings", _coding(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"))
    for value in (b"identity", b"gzip", b"chunke", b"x"):
        yield Case(
            f"{value.decode()}, and chunked apart",
            _coding(b"Transfer-Encoding: %b\r\nTransfer-Encoding: chunked" % value),
        )
    yield Case("chunked twice", _coding(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"))
    yield Case("space before the colon", _coding(b"Transfer-Encoding : chunked"))
    yield Case(
        "an underscore",
        POST + b"Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        _one(b"abc"),
        maybe=True,
    )
    yield Case("bare LF before it", _coding(b"X: y\nTransfer-Encoding: chunked"))
    yield Case("bare CR before it", _coding(b"X: y\rTransfer-Encoding: chunked"))
    yield Case("folded", _coding(b"Transfer-Encoding:\r\n chunked"))
    yield Case(
        "folded and a length", POST + b"Content-Length: 3\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\nabc"
    )
    yield Case("HTTP/1.0 and chunks", _chunks(b"0\r\n\r\n" + INNER).replace(b"HTTP/1.1", b"HTTP/1.0", 1))


def _chunked_bodies() -> Iterator[Case]:
    yield Case("chunks", _chunks(b"3\r\nabc\r\n0\r\n\r\n"), _one(b"abc"))
    yield Case("INNER in a chunk", _chunks(b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)), _one(INNER))
    yield Case("an extension", _chunks(b"3;a=b\r\nabc\r\n0\r\n\r\n"), _one(b"abc"), maybe=True)
    yield Case("a quoted extension", _chunks(b'3;a="b;c"\r\nabc\r\n0\r\n\r\n'), _one(b"abc"), maybe=True)
    yield Case("a trailer", _chunks(b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n"), _one(b"abc"), maybe=True)
    yield Case(
        "a length as trailer",
        _chunks(b"3\r\nabc\r\n0\r\nContent-Length: 40\r\n\r\n"),
        _one(b"abc"),
        maybe=True,
    )
    yield Case("capital digits", _chunks(b"A\r\n0123456789\r\n0\r\n\r\n"), _one(b"0123456789"))
    yield Case("zeros before the size", _chunks(b"0003\r\nabc\r\n000\r\n\r\n"), _one(b"abc"), maybe=True)
    for size in (
        b"0x3",
        b"+3",
        b"-3",
        b"zz",
        b"",
        b"3\0",
        b"\xb3",
        b"10000000000000003",
        b"3\rX",
        b"3;a\nb",
        b"3;a\rb",
        b"3_0",
        b" 3",
    ):
        yield Case(f"size {size!r}", _chunks(size + b"\r\nabc\r\n0\r\n\r\n"))
    yield Case("a space after the size", _chunks(b"3 \r\nabc\r\n0\r\n\r\n"), _one(b"abc"), maybe=True)
    yield Case("bare LF after the size", _chunks(b"3\nabc\r\n0\r\n\r\n"))
    yield Case("bare LF after the chunk", _chunks(b"3\r\nabc\n0\r\n\r\n"))
    yield Case("bare LF at the end", _chunks(b"3\r\nabc\r\n0\n\n"))
    yield Case("no end of the chunk", _chunks(b"3\r\nabc0\r\n\r\n"))
    yield Case("more than the chunk", _chunks(b"3\r\nabcXX0\r\n\r\n"))
    yield Case("a bad trailer", _chunks(b"3\r\nabc\r\n0\r\nX y\r\n\r\n"))


def _headers() -> Iterator[Case]:
    for line in (
        b"X : y",
        b" X: y",
        b"X\t: y",
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b": y",
        b"X",
        b"X: a\0b",
        b"X\0: y",
        b"X y: z",
        b"X: a\nY: b",
        b"X: a\rY: b",
        b"(X): y",
        b"X\xe9: y",
        b'"X": y',
        b"X: \x08",
        b"X: \x7f",
    ):
        yield Case(f"header {line!r}", GET + line + b"\r\n\r\n")
    yield Case("bytes over 127 in a value", GET + b"X: \xe9\xff\r\n\r\n", _one(method="GET"), maybe=True)
    yield Case("no value", GET + b"X:\r\n\r\n", _one(method="GET"))
    yield Case("bare LFs", GET.replace(b"\r\n", b"\n") + b"\n")
    yield Case("bare CRs", GET.replace(b"\r\n", b"\r") + b"\r")
    yield Case("one bare LF at the end", GET + b"X: y\r\n\n")
    for host in (
        b"",
        b"a b",
        b"good@evil",
        b"a/b",
        b"a,b",
        b"x:y",
        b"x:80:80",
        b"[::1",
        b"a\tb",
        b"a\0b",
        b"a?b",
        b"a#b",
        b"http://a",
    ):
        yield Case(
            f"host {host!r}",
            b"GET {at}/x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n",
            _one(method="GET") if not host else (),
            maybe=not host,
        )
    yield Case("no host", b"GET {at}/x HTTP/1.1\r\n\r\n")
    yield Case("two hosts", GET + b"Host: evil\r\n\r\n")
    yield Case("the same host twice", GET + b"Host: {host}\r\n\r\n")


def _lines() -> Iterator[Case]:
    for version in (
        b"HTTP/1.2",
        b"HTTP/1.10",
        b"HTTP/01.1",
        b"HTTP/2.0",
        b"HTTP/9.9",
        b"http/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1",
        b"HTTP /1.1",
        b"HTTPS/1.1",
        b"XTTP/1.1",
        b"HTTP/1.1 x",
        b"HTTP/-1.1",
    ):
        yield Case(
            f"version {version!r}",
            GET.replace(b"HTTP/1.1", version, 1) + b"\r\n",
            _one(method="GET") if version == b"HTTP/1.2" else (),
            maybe=version == b"HTTP/1.2",
        )
    yield Case("no version", b"GET {at}/x\r\n\r\n")
    yield Case("two spaces", GET.replace(b"GET ", b"GET  ", 1) + b"\r\n", _one(method="GET"), maybe=True)
    yield Case("a tab", GET.replace(b"GET ", b"GET\t", 1) + b"\r\n")
    yield Case("a space before", b" " + GET + b"\r\n")
    yield Case("empty lines before", b"\r\n\r\n" + GET + b"\r\n", _one(method="GET"), maybe=True)
    for method in (b"GE T", b"G\0T", b"GET\x0b", b"G/T", b"GET:", b"PRI", b"\xc7ET"):
        yield Case(
            f"method {method!r}",
            GET.replace(b"GET", method, 1) + b"\r\n",
            _one(method="PRI") if method == b"PRI" else (),
            maybe=method == b"PRI",
        )
    yield Case("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    yield Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40)
    yield Case(
        "an upgrade with a body",
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
        _one(INNER),
        maybe=True,
    )
    yield Case(
        "a WebSocket with a body",
        POST
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n" % len(INNER)
        + INNER,
    )
    yield Case("two requests", GET + b"\r\n" + GET + b"\r\n", _one(method="GET") * 2)
    yield Case("a body and a request", _length(b"3") + GET + b"\r\n", (*_one(b"abc"), *_one(method="GET")))
    yield Case(
        "chunks and a request",
        _chunks(b"3\r\nabc\r\n0\r\n\r\n") + GET + b"\r\n",
        (*_one(b"abc"), *_one(method="GET")),
    )
    yield Case(
        "a body that is longer than it says",
        _length(b"3", b"abcdef") + GET + b"\r\n",
        _one(b"abc"),
        maybe=True,
    )


def _targets() -> Iterator[Case]:
    for path in (
        b"//x",
        b"/./x",
        b"/../x",
        b"/x/..",
        b"/%2e%2e/x",
        b"/.%2E/x",
        b"/a%2fb",
        b"/a%5cb",
        b"/a\\b",
        b"/a;b",
        b"/a%00b",
        b"/a#b",
        b"/a%zz",
        b"/a%",
        b"/a\xe9",
        b"/a\x01",
        b"/a\x7f",
        b"/a{b}",
        b'/a"b',
        b"/a|b",
        b"/%c0%ae%c0%ae/x",
    ):
        known = path == b"/%c0%ae%c0%ae/x"  # bytes that are no UTF-8: dots to nobody who decodes them right
        yield Case(
            f"path {path!r}",
            b"GET {at}" + path + b" HTTP/1.1\r\nHost: {host}\r\n\r\n",
            _one(method="GET", target="/base/%C0%AE%C0%AE/x") if known else (),
            maybe=known,
        )
    yield Case(
        "needless escapes",
        b"GET {at}/%61%2Db HTTP/1.1\r\nHost: {host}\r\n\r\n",
        _one(method="GET", target="/base/a-b"),
    )
    yield Case(
        "a query",
        b"GET {at}/x?a=/../b;c=%00 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        _one(method="GET", target="/base/x?a=/../b;c=%00"),
    )
    yield Case("a query with #", b"GET {at}/x?a#b HTTP/1.1\r\nHost: {host}\r\n\r\n")
    for target in (
        b"*",
        b"",
        b"x",
        b"?x",
        b"host:80",
        b"http:/x",
        b"http:///x",
        b"file:///etc/passwd",
        b"https://",
        b"http://user@{host}/base/x",
        b"http://{host}\\@evil/",
        b"http://{host}:0/",
        b"http://{host}:99999/x",
    ):
        yield Case(f"target {target!r}", b"GET " + target + b" HTTP/1.1\r\nHost: {host}\r\n\r\n")


CASES = (*_lengths(), *_codings(), *_chunked_bodies(), *_headers(), *_lines(), *_targets())
