"""One request and its response, as the pipeline sees them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import msgspec

from toolpolicy_sidecar.upstream.headers import Header
from toolpolicy_sidecar.upstream.origin import Origin


class Request(msgspec.Struct, frozen=True):
    """`target` is the origin-form path and query. Host, framing and connection headers are the pool's business.
    `switch_to`: a WebSocket is asked for, and this has the connection from the server's 101 on. `length`: of a streamed
    body, None for chunks. `added`: lines of the sidecar's own, each behind CR LF; apart from headers, which seldom are
    others."""

    origin: Origin
    method: str
    target: str
    headers: tuple[Header, ...]
    body: bytes | AsyncIterator[bytes] | None = None
    switch_to: asyncio.Protocol | None = None
    length: int | None = None
    added: bytes = b""


class BodyTooLarge(Exception):  # noqa: N818 -- names what happened
    """More bytes than the reader wanted; the rest was not read."""


class Source(Protocol):
    """Where a response's body comes from: its connection."""

    async def read(self) -> bytes: ...
    def done(self) -> None: ...
    def abort(self) -> None: ...


def _nothing() -> bytes | None:
    return None


class Response(msgspec.Struct, eq=False):
    """Pull it: `read` until b"". `release` when it was read to its end, `abort` otherwise; both may be repeated.

    `headers`: without Content-Length, which is `length`; None: it did not say. `at_once`: takes the whole body, if it
    has come with the head and is not large; None: it has to be pulled. `values`: by name, once asked for."""

    status: int
    reason: bytes
    headers: tuple[Header, ...]
    _source: Source
    at_once: Callable[[], bytes | None] = _nothing
    length: int | None = None
    values: dict[bytes, bytes] | None = None

    def header(self, name: bytes) -> bytes | None:
        """Of this (lower-case) name; values that are given apart, as one list (RFC 9110, 5.3). Who read the first alone
        could be told one thing, and the agent another."""
        values = self.values
        if values is None:
            values = self.values = by_name(self.headers)
        return values.get(name)

    def read(self) -> Awaitable[bytes]:
        """The next piece; b"" at the clean end. Raises UpstreamFailure."""
        return self._source.read()

    async def body(self, limit_bytes: int) -> bytes:
        """All of it. Raises BodyTooLarge (the connection is closed then) or UpstreamFailure."""
        pieces, size = [], 0
        while piece := await self.read():
            size += len(piece)
            if size > limit_bytes:
                self.abort()
                raise BodyTooLarge
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def release(self) -> None:
        self._source.done()

    def abort(self) -> None:
        self._source.abort()


def by_name(headers: tuple[Header, ...]) -> dict[bytes, bytes]:
    """In lower case; values that are given apart, as one list."""
    found: dict[bytes, bytes] = {}
    for key, value in headers:
        lower = key.lower()
        before = found.get(lower)
        found[lower] = value if before is None else b"%b, %b" % (before, value)
    return found


class Upstream(Protocol):
    """What sends requests: the pool of connections, or a simulation's script."""

    async def exchange(
        self, request: Request, *, connect_timeout_s: float, connected: Callable[[], None] | None = None
    ) -> Response:
        """The response's head. Raises UpstreamFailure, UnsendableRequest. Cancelling closes its connection.
        `connected` is called when there is one."""
        ...
